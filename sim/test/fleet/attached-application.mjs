// An application with a runtime of its own, as docs/attach.md asks for one: it loads what its path leads to when it starts and on SIGHUP, answers
// rows with ONNX Runtime, and tells the agent what it loaded, what it was asked and what it answered.
// Argument: JSON with socket, path, model, pidFile, and the versions that it has trouble with: failing (it cannot answer), sickening (its health
// check fails once it has answered). Standard input: a request for each line, {"id", "rows", "labels"?, "inputs"?}. Standard output: a line of JSON
// for each thing that happens.
import { createHash } from 'node:crypto';
import { readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { InferenceSession, Tensor } from '@drover/agent/onnxruntime';

const { socket: socketPath, path, model, pidFile, failing, sickening } = JSON.parse(process.argv[2] ?? '{}');
const tell = (event, facts) => void process.stdout.write(`${JSON.stringify({ event, ...facts })}\n`);

let agent;
let active;
let isSick = false;
/** One load, one request after the other. */
let turn = Promise.resolve();
const inTurn = (work) => (turn = turn.then(work, work));

const say = (message) => {
  if (agent?.writable) agent.write(`${JSON.stringify(message)}\n`);
};

async function load() {
  let folder;
  try {
    folder = realpathSync(path);
  } catch (error) {
    if (error.code === 'ENOENT') return;
    throw error;
  }
  const bytes = readFileSync(join(folder, 'model.onnx'));
  const { version } = JSON.parse(readFileSync(join(folder, 'release.json'), 'utf8'));
  const session = await InferenceSession.create(bytes, { intraOpNumThreads: 1 });
  await active?.session.release();
  active = { digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`, version, session };
  isSick = false;
  say({ type: 'loaded', digest: active.digest });
  tell('loaded', { version, digest: active.digest });
}

async function answer({ id, rows, labels }) {
  const started = performance.now();
  const features = new Tensor('float32', Float32Array.from(rows.flat()), [rows.length, rows[0].length]);
  const { probabilities } = await active.session.run({ features });
  const latencyUs = Math.round((performance.now() - started) * 1000);
  const observed = { type: 'inference', id, latencyUs, features: rows };
  if (active.version === failing) say({ ...observed, failed: true });
  else {
    const [, width] = probabilities.dims;
    const scores = rows.map((_, row) => [...probabilities.data.slice(row * width, (row + 1) * width)]);
    const confidences = scores.map((each) => Math.max(...each));
    const classes = scores.map((each, row) => each.indexOf(confidences[row]));
    say({ ...observed, classes, confidences });
    if (labels) say({ type: 'label', id, labels });
  }
  if (active.version === sickening) isSick = true;
  tell('observed', { id, version: active.version });
}

function connect() {
  agent = createConnection(socketPath);
  agent.on('connect', () => {
    say({ type: 'hello', protocol: 1, model, runtime: 'pipeline', ...(active && { loaded: active.digest }) });
    if (!active) inTurn(load);
  });
  createInterface({ input: agent })
    .on('line', (line) => tell('told', JSON.parse(line)))
    // It passes on those of its input; the agent may not be there yet.
    .on('error', () => undefined);
  // The agent may be started again at any time.
  agent.on('close', () => setTimeout(connect, 20));
}

const health = createServer((_request, response) => response.writeHead(isSick ? 503 : 200).end());
health.listen(0, '127.0.0.1', () => tell('listening', { port: health.address().port }));
process.on('SIGHUP', () => inTurn(load));
writeFileSync(pidFile, `${process.pid}\n`);
connect();
createInterface({ input: process.stdin }).on('line', (line) => inTurn(() => answer(JSON.parse(line))));
