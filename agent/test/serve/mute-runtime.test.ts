import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { installClassifier } from './installed-classifier.js';

const run = promisify(execFile);
let home: string;
let modelFile: string;
beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'drover-mute-'));
  ({ modelFile } = await installClassifier({ directory: join(home, 'release') }));
});
afterEach(() => rmSync(home, { recursive: true }));

/** Opens a session in a process whose environment says nothing about telemetry, as a device's does. */
async function leavesTraces(specifier: string): Promise<boolean> {
  // Nothing else is inherited: among others, the library holds its peace where CI is set.
  const { PATH } = process.env;
  const script = `
    const loaded = await import(${JSON.stringify(specifier)});
    const { InferenceSession } = loaded.default ?? loaded;
    await (await InferenceSession.create(${JSON.stringify(modelFile)})).release();`;
  const fresh = mkdtempSync(join(home, 'fresh-'));
  const cache = join(fresh, 'cache');
  await run(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: import.meta.dirname,
    env: { PATH, HOME: fresh, XDG_CACHE_HOME: cache, TMPDIR: fresh },
  });
  return [cache, join(fresh, '.cache')].some((folder) => existsSync(join(folder, 'Microsoft')));
}

it.runIf(process.platform === 'linux')('when the agent runs ONNX Runtime, it gathers no usage data', async () => {
  // Else the check would not notice.
  expect(await leavesTraces('onnxruntime-node')).toBe(true);
  expect(await leavesTraces(new URL('../../dist/onnxruntime/index.js', import.meta.url).href)).toBe(false);
});
