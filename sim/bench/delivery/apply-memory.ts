import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { AGENT_NODE_FLAGS } from '../../src/fleet/agent-process.js';

export interface Applied {
  readonly idleMiB: number;
  readonly peakMiB: number;
  readonly ms: number;
  readonly how: string;
  readonly lagP99Ms: number | null;
}

/** Applies a release in a process of its own, with the flags of the agent, and reads its resident memory. */
export async function measureApply(task: object): Promise<Applied> {
  const script = fileURLToPath(new URL('apply-child.ts', import.meta.url));
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [...AGENT_NODE_FLAGS, '--import', 'tsx', script, JSON.stringify(task)],
    { maxBuffer: 1024 ** 2 },
  );
  return JSON.parse(stdout) as Applied;
}
