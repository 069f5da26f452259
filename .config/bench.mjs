// npm run bench -- NAME [--seed N] [--quick] [--json]: runs WORKSPACE/bench/NAME.ts and prints what it measured, with what is needed to repeat it.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const workspaces = ['shared', 'agent', 'control-plane', 'sim'];
const known = new Map(
  workspaces
    .map((workspace) => join(root, workspace, 'bench'))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) =>
      readdirSync(folder)
        .filter((file) => file.endsWith('.ts'))
        .map((file) => [file.slice(0, -3), join(folder, file)]),
    ),
);
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string', default: '1' },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const [name = ''] = positionals;
const file = known.get(name);
if (!file || !Number.isSafeInteger(Number(values.seed))) {
  process.stderr.write(
    `Usage: npm run bench -- NAME [--seed N] [--quick] [--json]\nBenchmarks: ${[...known.keys()].join(', ')}\n`,
  );
  process.exit(2);
}
const { default: measure } = await import(pathToFileURL(file).href);
const stop = new AbortController();
process.once('SIGINT', () => stop.abort(new Error('interrupted')));
const figures = await measure({
  seed: Number(values.seed),
  quick: values.quick,
  signal: stop.signal,
  progress: (line) => process.stderr.write(`${line}\n`),
});
const versionOf = (name) => JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8')).version;
const result = {
  benchmark: name,
  seed: Number(values.seed),
  quick: values.quick,
  ...figures,
  versions: {
    node: process.version,
    'onnxruntime-node': versionOf('onnxruntime-node'),
    'better-sqlite3': versionOf('better-sqlite3'),
  },
  machine: {
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    platform: `${process.platform}-${process.arch}`,
  },
};
if (!values.json) console.table(figures);
console.log(JSON.stringify(result));
process.exit(0);
