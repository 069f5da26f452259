import { toCodedErrorJson } from '@drover/shared/coded-error';
import type { ModelName } from '@drover/shared/ids';
import { constants as osConstants } from 'node:os';
import { systemClock } from '../../host/clock.js';
import type { InstalledModel } from '../../update/ports.js';
import { fromCodedErrorJson, type ServeError } from '../errors.js';
import { InlineServing } from '../inline/inline-serving.js';
import { openHere } from '../inline/open-here.js';
import { listenInference, type InferenceServer } from '../protocol/inference-server.js';
import { AcceptTurns } from '../lanes/accept-turns.js';
import { Lanes } from '../lanes/lanes.js';
import { LentListeners } from '../lanes/lent-listeners.js';
import { handleOf, type ListenerHandle, type ListenerPlace } from '../protocol/listener.js';
import type { Region } from '../protocol/shared-memory.js';
import { openWorkerSession } from '../session/worker-session.js';
import { DEFAULT_TOLERANCE } from '../trials/compared.js';
import { createBatchingRecorder } from './batching-recorder.js';
import { followSupervisor } from './follow-supervisor.js';
import type { Beginning, FromInference, ListenSettings, Started, ToInference } from './messages.js';
import { placeModel } from './place-model.js';
import { createRemoteDesk } from './remote-desk.js';

// The inference process: the threads of the protocol, of which this one decides, and those of the models that need some. Told what to serve over IPC; knows nothing of updates.

const never = new AbortController().signal;
const send = (message: FromInference, sent?: () => void): void => {
  if (process.connected) process.send?.(message, () => sent?.());
};
const onIncident = (error: unknown): void => send({ kind: 'incident', error: toCodedErrorJson(error) });
/** The process can't go on without one of its threads: let the supervisor start everything afresh and count the crash. */
const endWith = (error: ServeError): void => send({ kind: 'incident', error: error.toJSON() }, () => process.exit(1));
/** Sockets that an earlier life listened on. */
const held: Partial<Record<ListenerPlace, ListenerHandle>> = {};
const recorder = createBatchingRecorder({
  deliver: (batch, delivered) => send({ kind: 'batch', ...batch }, delivered),
});
const desk = createRemoteDesk((call, question) => send({ kind: 'desk-asked', call, question }));
const lent = new LentListeners();
let serving: InlineServing | undefined;
let server: InferenceServer | undefined;
let lanes: Lanes | undefined;
let takeOver: (regions: readonly Region[]) => void = () => undefined;
const whenTakenOver = new Promise<readonly Region[]>((resolve) => (takeOver = resolve));

async function start({ isRestart, settings, models, parameters, regions, relieves }: Beginning): Promise<Started> {
  const place = (model: InstalledModel, onLost: (error: ServeError) => void) =>
    placeModel(model, {
      maxBatchDelayMs: settings.maxBatchDelayMs ?? 0,
      onIncident,
      openHere: (each) => openHere(each, settings.providers),
      openWorker: (each) => openWorkerSession(each, { providers: settings.providers, onLost }),
    });
  const started: InlineServing = new InlineServing({
    ...settings,
    isRestart,
    clock: systemClock,
    recorder,
    labelDesk: desk,
    settle: async () => lanes?.flush(),
    onIncident,
    onParametersRejected: (model, rejection) => send({ kind: 'parameters-rejected', model, rejection }),
    open: (model) => place(model, endWith),
    openTrial: place,
    openShadow: async ({ candidate, terms: { tolerance = DEFAULT_TOLERANCE } }, onLost) => {
      const { providers } = settings;
      const niceness = osConstants.priority.PRIORITY_LOW;
      const { session, provider } = await openWorkerSession(candidate, { providers, niceness, tolerance, onLost });
      return {
        provider,
        compare: (inputs, answered) => session.compare(inputs, answered),
        close: () => session.close(),
      };
    },
    onTrialLost(model, error) {
      send({ kind: 'trial-lost', model, error: error.toJSON() });
      lanes?.change(model, () => Promise.resolve()).catch(onIncident);
    },
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
  const [problem] = failed;
  if (problem && relieves) throw fromCodedErrorJson(problem.error);
  if (relieves) send({ kind: 'loaded' });
  const inherited = relieves ? await whenTakenOver : regions;
  // Listens only now: until the models are loaded again, a client waits, or is refused and tries again, instead of being told that there is no such model.
  const turns = AcceptTurns.among(settings.protocolThreads ?? 1);
  server = await listenInference({
    ...settings,
    models: started,
    succession: {
      held,
      regions: inherited,
      onIncident,
    },
    onRegions: async (all) => {
      send({ kind: 'regions', regions: all });
      await lanes?.regions(all);
    },
    onAccepted: (socket) => void turns.taken(socket),
  });
  for (const [place, listener] of Object.entries(server.listeners)) {
    const message: FromInference = { kind: 'listening', place: place as ListenerPlace };
    if (process.connected) process.send?.(message, handleOf(listener));
  }
  await openLanes(started, server, turns, settings);
  return { port: server.port, running, failed };
}

async function openLanes(
  serves: InlineServing,
  { memory, listeners }: InferenceServer,
  turns: AcceptTurns,
  settings: ListenSettings,
): Promise<void> {
  const { protocolThreads = 1 } = settings;
  const descriptors = await lent.all(Object.keys(listeners) as ListenerPlace[], protocolThreads - 1);
  lanes = new Lanes({
    serving: serves,
    memory,
    settings,
    descriptors,
    turns,
    recorder,
    onIncident,
    onLost: endWith,
  });
  await lanes.started();
}

/** What changes a model, while no other thread answers for it. */
async function change<Result>(model: ModelName, work: (serves: InlineServing) => Promise<Result>): Promise<Result> {
  if (!serving || !lanes) throw new Error('an order came before the start');
  const now = serving;
  return lanes.change(model, () => work(now));
}

/** Another process takes this one's place. */
async function giveWay(): Promise<void> {
  serving?.giveWay();
  server?.giveWay();
  await lanes?.giveWay();
  // Ground truth for what was answered here may come to the other.
  await lanes?.flush();
  recorder.flush();
  send({ kind: 'gave-way' });
}

async function end(how: 'close' | 'retire'): Promise<void> {
  await Promise.all([server?.[how](), lanes?.end(how)]);
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

process.on('message', (message: ToInference, handle?: ListenerHandle) => {
  switch (message.kind) {
    case 'listener':
      held[message.place] = handle;
      return;
    case 'lent':
      if (handle !== undefined) lent.take(message.place, handle);
      return;
    case 'start':
      start(message).then(
        (started) => send({ kind: 'started', ...started }),
        (error: unknown) => send({ kind: 'unstarted', error: toCodedErrorJson(error) }, () => process.exit(1)),
      );
      return;
    case 'take-over':
      takeOver(message.regions);
      return;
    case 'activate': {
      const { model, replaced } = message;
      reply(message.call, () =>
        change(model.model, async (serves) => ({ running: await serves.activate(model, never, replaced) })),
      );
      return;
    }
    case 'deactivate': {
      reply(message.call, async () => {
        await change(message.model, (serves) => serves.deactivate(message.model));
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
        await change(message.model, (serves) => serves.setParameters(message.model, message.parameters, never));
        return {};
      });
      return;
    }
    case 'labelled':
      recorder.answer(message.call, message.outcome);
      return;
    case 'label-failed':
      recorder.answer(message.call, fromCodedErrorJson(message.error));
      return;
    case 'start-trial': {
      const { trial } = message;
      reply(message.call, () =>
        change(trial.candidate.model, async (serves) => ({ running: await serves.startTrial(trial, never) })),
      );
      return;
    }
    case 'end-trial': {
      reply(message.call, async () => {
        await change(message.model, (serves) => serves.endTrial(message.model));
        return {};
      });
      return;
    }
    case 'desk-told':
      desk.told(message.call, message.reply);
      return;
    case 'desk-failed':
      desk.told(message.call, fromCodedErrorJson(message.error));
      return;
    case 'stop':
      serving?.giveWay();
      void end('close');
      return;
    case 'retire':
      void giveWay().then(() => end('retire'));
  }
});
// An inference process without its supervisor would hold the port against its successor.
followSupervisor();
