import { execFileSync, spawn } from 'node:child_process';
import { closeSync, copyFileSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export interface MlServer {
  readonly httpPort: number;
  readonly grpcPort: number;
  stop(): Promise<void>;
}

export interface MlServerOptions {
  readonly folder: string;
  readonly model: string;
  readonly modelFile: string;
  readonly signal: AbortSignal;
}

const READY_WITHIN_MS = 60_000;

const pythonWithMlServer = (): string | undefined => process.env['DROVER_MLSERVER_PYTHON'];

/** Its name and version; undefined where nobody says that it is there. @throws where it is said and is not so: sooner than after all else was measured */
export function mlServerAtHand(): string | undefined {
  const python = pythonWithMlServer();
  if (python === undefined) return undefined;
  const ask = 'import onnxruntime, mlserver; print("MLServer", mlserver.__version__)';
  return execFileSync(python, ['-c', ask], { encoding: 'utf8' }).trim();
}

/** Seldon's MLServer by its default settings, where `DROVER_MLSERVER_PYTHON` names a Python that has `mlserver` and `onnxruntime`. Undefined elsewhere. */
export async function startMlServer({
  folder,
  model,
  modelFile,
  signal,
}: MlServerOptions): Promise<MlServer | undefined> {
  const python = pythonWithMlServer();
  if (python === undefined) return undefined;
  const [httpPort, grpcPort, metricsPort] = await freePorts(3);
  if (httpPort === undefined || grpcPort === undefined) throw new Error('there are no free ports');
  const home = join(folder, `mlserver-${model}`);
  mkdirSync(home);
  copyFileSync(fileURLToPath(new URL('./onnx_runtime.py', import.meta.url)), join(home, 'onnx_runtime.py'));
  const settings = { host: '127.0.0.1', http_port: httpPort, grpc_port: grpcPort, metrics_port: metricsPort };
  writeFileSync(join(home, 'settings.json'), JSON.stringify({ ...settings, grpc_max_message_length: 64 * 1024 ** 2 }));
  writeFileSync(
    join(home, 'model-settings.json'),
    JSON.stringify({ name: model, implementation: 'onnx_runtime.OnnxRuntime', parameters: { uri: modelFile } }),
  );
  const log = join(home, 'log');
  const output = openSync(log, 'w');
  const child = spawn(join(dirname(python), 'mlserver'), ['start', home], {
    cwd: home,
    stdio: ['ignore', output, output],
  });
  closeSync(output);
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
    await ended;
    clearTimeout(timer);
  };
  try {
    const url = `http://127.0.0.1:${httpPort}/v2/models/${model}/ready`;
    const giveUpMs = performance.now() + READY_WITHIN_MS;
    while (
      !(await fetch(url).then(
        ({ ok }) => ok,
        () => false,
      ))
    ) {
      if (child.exitCode !== null || child.signalCode !== null || performance.now() > giveUpMs)
        throw new Error(`MLServer does not become ready: ${readFileSync(log, 'utf8').slice(-2_000)}`);
      await delay(200, undefined, { signal });
    }
    return { httpPort, grpcPort, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** MLServer takes no port of its own choice. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve) =>
          server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)),
        ),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
