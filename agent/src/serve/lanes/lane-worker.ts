import { parentPort, workerData } from 'node:worker_threads';
import { toCodedErrorJson } from '@drover/shared/coded-error';
import { systemClock } from '../../host/clock.js';
import { fromCodedErrorJson } from '../errors.js';
import { InlineServing } from '../inline/inline-serving.js';
import { createBatchingRecorder } from '../process/batching-recorder.js';
import { listenInference, type InferenceServer } from '../protocol/inference-server.js';
import { AcceptTurns } from './accept-turns.js';
import { LaneMemory } from './lane-memory.js';
import { LaneModels } from './lane-models.js';
import type { Command, FromLane, LaneData, ToLane } from './messages.js';

// Entry of a lane: a further thread of the protocol (docs/architecture.md, inference process).
const port = parentPort;
if (!port) throw new Error('lane-worker is the entry of a worker thread');
const post = (message: FromLane, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);
const onIncident = (error: unknown): void => post({ kind: 'incident', error: toCodedErrorJson(error) });
const { settings, descriptors, models: served, regions, turns: shared, thread } = workerData as LaneData;

const recorder = createBatchingRecorder({
  deliver({ records, inputs, comparisons }, delivered) {
    post({ kind: 'batch', records, inputs, comparisons });
    delivered();
  },
});
const inline: InlineServing = new InlineServing({
  ...settings,
  clock: systemClock,
  recorder,
  onIncident,
  openShadow: ({ candidate }) => models.openShadow(candidate),
});
const models = new LaneModels({ post, inline, flush: () => recorder.flush() });
models.tell(served);
const memory = new LaneMemory({
  isAllowed: settings.sharedMemory ?? false,
  register: (region) => models.ask({ kind: 'register', region }),
  unregister: (name) => models.ask({ kind: 'unregister', name }),
});
let server: InferenceServer | undefined;

async function perform(command: Command): Promise<void> {
  switch (command.kind) {
    case 'served':
      models.tell(command.models);
      return;
    case 'grant':
      return models.grant(command, command.parameters);
    case 'withdraw':
      return models.withdraw(command.model);
    case 'regions':
      return memory.adopt(command.regions);
    case 'flush':
      recorder.flush();
      return;
    case 'give-way':
      server?.giveWay();
      return;
    case 'end':
      await server?.[command.how]();
      await inline.close();
      recorder.close();
  }
}

port.on('message', (message: ToLane) => {
  const { call } = message;
  switch (message.kind) {
    case 'command':
      perform(message.command).then(
        () => post({ kind: 'done', call }),
        (error: unknown) => post({ kind: 'failed', call, error: toCodedErrorJson(error) }),
      );
      return;
    case 'answered':
      models.answered(call, ({ resolve }) => resolve(message.answer as never));
      return;
    case 'refused':
      models.answered(call, ({ reject }) => reject(fromCodedErrorJson(message.error)));
  }
});
try {
  await memory.adopt(regions).catch(onIncident);
  const held = Object.fromEntries(Object.entries(descriptors).map(([place, fd]) => [place, { fd }]));
  const turns = new AcceptTurns(shared, thread);
  server = await listenInference({
    ...settings,
    models,
    memory,
    succession: { held, regions: [], onIncident },
    onAccepted: (socket) => void turns.taken(socket),
  });
  post({ kind: 'started' });
} catch (error) {
  post({ kind: 'unstarted', error: toCodedErrorJson(error) });
}
