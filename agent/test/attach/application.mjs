// A small application with a runtime of its own: loads what its path leads to when it starts and on SIGHUP, and says so over the observe socket.
// Arguments: socket, path, and how it behaves: honest, mute (says nothing), stubborn (refuses version 1.1.0), deaf (does not heed SIGHUP).
// Prints "loaded DIGEST" for its parent; answers each line on standard input by one observed inference of that many milliseconds.
import { createHash } from 'node:crypto';
import { readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const [socketPath, path, behaviour = 'honest', pidFile] = process.argv.slice(2);
if (pidFile !== undefined) writeFileSync(pidFile, `${process.pid}\n`);

let socket;
let loaded;
const say = (message) => {
  if (behaviour !== 'mute' && socket?.writable) socket.write(`${JSON.stringify(message)}\n`);
};

/** Everything from one folder: the link may be switched between two reads. */
function read() {
  const folder = realpathSync(path);
  const bytes = readFileSync(join(folder, 'model.onnx'));
  const { version } = JSON.parse(readFileSync(join(folder, 'release.json'), 'utf8'));
  return { digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`, version };
}

function load() {
  let found;
  try {
    found = read();
  } catch (error) {
    if (error.code === 'ENOENT') return;
    throw error;
  }
  if (behaviour === 'stubborn' && found.version === '1.1.0') {
    say({ type: 'refused', digest: found.digest, reason: 'no kernel for its third layer' });
    return;
  }
  loaded = found.digest;
  say({ type: 'loaded', digest: loaded });
  process.stdout.write(`loaded ${loaded}\n`);
}

function connect() {
  socket = createConnection(socketPath);
  socket.on('connect', () => {
    say({ type: 'hello', protocol: 1, model: 'classifier', runtime: 'test runtime', ...(loaded && { loaded }) });
  });
  socket.setEncoding('utf8').on('data', (text) => process.stdout.write(text));
  socket.on('error', () => socket.destroy());
  // The agent may be started again at any time.
  socket.on('close', () => setTimeout(connect, 20));
}

connect();
socket.once('connect', load);
process.on('SIGHUP', () => {
  if (behaviour !== 'deaf') load();
});
let requests = 0;
createInterface({ input: process.stdin }).on('line', (line) => {
  requests += 1;
  say({
    type: 'inference',
    id: `request-${requests}`,
    latencyUs: Number(line) * 1000,
    features: [[1, 2, 3, 4]],
    classes: [1],
    confidences: [0.9],
  });
});
