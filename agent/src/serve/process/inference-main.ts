import { toCodedErrorJson } from '@drover/shared/coded-error';
import { systemClock } from '../../host/clock.js';
import { InlineServing, openHere } from '../inline/inline-serving.js';
import { listenInference, type InferenceServer } from '../protocol/inference-server.js';
import { openWorkerSession } from '../session/worker-session.js';
import { createBatchingRecorder } from './batching-recorder.js';
import type { FromInference, Started, ToInference } from './messages.js';
import { placeModel } from './place-model.js';

// The inference process: the thread of the protocol, and those of the models that need some. Told what to serve over IPC; knows nothing of updates.

const never = new AbortController().signal;
const send = (message: FromInference, sent?: () => void): void => {
  if (process.connected) process.send?.(message, () => sent?.());
};
const recorder = createBatchingRecorder({
  deliver: (batch, delivered) => send({ kind: 'batch', ...batch }, delivered),
});
let serving: InlineServing | undefined;
let server: InferenceServer | undefined;

async function start({ settings, models, parameters }: Extract<ToInference, { kind: 'start' }>): Promise<Started> {
  const started: InlineServing = new InlineServing({
    ...settings,
    clock: systemClock,
    recorder,
    onIncident: (error) => send({ kind: 'incident', error: toCodedErrorJson(error) }),
    onParametersRejected: (model, rejection) => send({ kind: 'parameters-rejected', model, rejection }),
    open: (model) =>
      placeModel(model, {
        onIncident: (error) => send({ kind: 'incident', error: toCodedErrorJson(error) }),
        openHere: (each) => openHere(each, settings.providers),
        openWorker: (each) =>
          openWorkerSession(each, {
            providers: settings.providers,
            // Without its thread a model answers nothing: end, and let the supervisor start everything afresh and count the crash.
            onLost: (error) => send({ kind: 'incident', error: error.toJSON() }, () => process.exit(1)),
          }),
      }),
  });
  serving = started;
  for (const each of parameters) await started.setParameters(each.model, each, never);
  const running: Started['running'][number][] = [];
  const failed: Started['failed'][number][] = [];
  for (const model of models) {
    await started.activate(model, never).then(
      (loaded) => running.push({ model: model.model, running: loaded }),
      (error: unknown) => failed.push({ model: model.model, error: toCodedErrorJson(error) }),
    );
  }
  // Listens only now: until the models are loaded again, a client is refused and tries again, instead of being told that there is no such model.
  server = await listenInference({ ...settings, models: started });
  return { port: server.port, running, failed };
}

async function stop(): Promise<void> {
  await server?.close();
  await serving?.close();
  recorder.close();
  process.disconnect();
}

const reply = (call: number, work: () => Promise<Partial<Extract<FromInference, { kind: 'done' }>>>): void => {
  work().then(
    (result) => send({ kind: 'done', call, ...result }),
    (error: unknown) => send({ kind: 'failed', call, error: toCodedErrorJson(error) }),
  );
};

process.on('message', (message: ToInference) => {
  switch (message.kind) {
    case 'start':
      start(message).then(
        (started) => send({ kind: 'started', ...started }),
        (error: unknown) => send({ kind: 'unstarted', error: toCodedErrorJson(error) }, () => process.exit(1)),
      );
      return;
    case 'activate': {
      reply(message.call, async () => {
        if (!serving) throw new Error('activate came before start');
        return { running: await serving.activate(message.model, never, message.replaced) };
      });
      return;
    }
    case 'deactivate': {
      reply(message.call, async () => {
        await serving?.deactivate(message.model);
        return {};
      });
      return;
    }
    case 'drop-kept': {
      reply(message.call, async () => {
        await serving?.dropKept(message.model);
        return {};
      });
      return;
    }
    case 'set-parameters': {
      reply(message.call, async () => {
        if (!serving) throw new Error('set-parameters came before start');
        await serving.setParameters(message.model, message.parameters, never);
        return {};
      });
      return;
    }
    case 'stop':
      void stop();
  }
});
// The supervisor is gone, or said stop: an inference process without one would hold the port against its successor.
process.on('disconnect', () => process.exit(0));
// It may be gone since before this line: the event came while the modules were loaded, and does not come again.
if (!process.connected) process.exit(0);
// Signals to the whole group (Ctrl-C, systemd) are the supervisor's to answer; it ends this process.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined);
