import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import type { FuzzTarget } from '@drover/shared/fuzzing';
import { fuzzTarget, type CampaignFinding } from './campaign.js';

// npm run fuzz -- [--seconds N] [--seed S] [--target NAME] [--from I] [--memory-mib M]: fuzzes every parser that meets bytes from outside, or one.
// The last line is `cases=… crashes=… hangs=… overMemory=…`; the exit code is 1 unless the last three are 0.

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
/** Each workspace registers its parsers in one table. They are loaded by path: the simulator imports no control plane. */
const TABLES = ['shared', 'agent', 'control-plane'].map((workspace) =>
  join(ROOT, workspace, 'test/fuzzing/targets.ts'),
);

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: '1' },
    target: { type: 'string' },
    from: { type: 'string', default: '0' },
    'memory-mib': { type: 'string', default: '512' },
    'hang-ms': { type: 'string', default: '15000' },
    'cpu-ms': { type: 'string', default: '2000' },
    /** Another table, for tests of this command. */
    table: { type: 'string' },
  },
});
const number = (name: keyof typeof values): number => {
  const parsed = Number(values[name]);
  if (Number.isSafeInteger(parsed) && parsed >= 0) return parsed;
  process.stderr.write(`--${name} needs a whole number, not ${String(values[name])}.\n`);
  process.exit(2);
};

const campaigns: { readonly table: string; readonly target: string }[] = [];
for (const table of values.table === undefined ? TABLES : [values.table]) {
  const { targets } = (await import(pathToFileURL(table).href)) as { targets: readonly FuzzTarget[] };
  for (const { name } of targets)
    if (values.target === undefined || values.target === name) campaigns.push({ table, target: name });
}
if (campaigns.length === 0) {
  process.stderr.write(`There is no target ${String(values.target)}.\n`);
  process.exit(2);
}

const stop = new AbortController();
process.once('SIGINT', () => stop.abort(new Error('interrupted')));
const forMs = (number('seconds') * 1000) / campaigns.length;
const seed = number('seed');
let cases = 0;
const findings: CampaignFinding[] = [];
for (const { table, target } of campaigns) {
  if (stop.signal.aborted) break;
  const result = await fuzzTarget({
    table,
    target,
    seed,
    from: number('from'),
    forMs,
    memoryMiB: number('memory-mib'),
    maxCpuMs: number('cpu-ms'),
    hangMs: number('hang-ms'),
    signal: stop.signal,
  });
  cases += result.cases;
  findings.push(...result.findings);
  process.stdout.write(
    `${target.padEnd(28)} ${String(result.cases).padStart(9)} cases, ${result.findings.length} findings\n`,
  );
  for (const { kind, index, what } of result.findings) {
    process.stdout.write(
      `  ${kind}: npm run fuzz -- --target ${target} --seed ${seed} --from ${index} --seconds 1\n    ${what.replaceAll('\n', '\n    ')}\n`,
    );
  }
}
const count = (kind: CampaignFinding['kind']): number => findings.filter((finding) => finding.kind === kind).length;
process.stdout.write(
  `cases=${cases} crashes=${count('crash')} hangs=${count('hang')} overMemory=${count('over-memory')}\n`,
);
process.exitCode = findings.length > 0 || cases === 0 ? 1 : 0;
