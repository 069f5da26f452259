import { toCodedErrorJson } from '@drover/shared/coded-error';
import { systemClock } from '../../host/clock.js';
import { fromCodedErrorJson } from '../../serve/errors.js';
import { createBatchingRecorder } from '../../serve/process/batching-recorder.js';
import { followSupervisor } from '../../serve/process/follow-supervisor.js';
import { KnownReleases } from './known-releases.js';
import { listenObserve } from './observe-server.js';
import type { FromObserve, ObserveSettings, ToObserve } from './process-messages.js';
import { SharedLimit } from './rate-limit.js';

// The observe process: reads what attached applications say, so that no flood of theirs reaches the supervisor but in batches. Runs no model.

const send = (message: FromObserve, sent?: () => void): void => {
  if (process.connected) process.send?.(message, () => sent?.());
};
const recorder = createBatchingRecorder({
  deliver: (batch, delivered) => send({ kind: 'batch', ...batch }, delivered),
});
const known = new KnownReleases();
let server: { close(): Promise<void> } | undefined;

/** What the supervisor copies and the store takes beside everything else that they do: 128 columns of 32 bits in 16,384 rows. */
const MAX_ROW_BYTES_PER_SECOND = 8 * 1024 ** 2;

async function start({ socket, maxObservationsPerSecond }: ObserveSettings): Promise<void> {
  server = await listenObserve({
    socket,
    known,
    limits: {
      observations: new SharedLimit(maxObservationsPerSecond, () => systemClock.monotonic()),
      rowBytes: new SharedLimit(MAX_ROW_BYTES_PER_SECOND, () => systemClock.monotonic()),
      isCongested: () => recorder.isCongested(),
    },
    recorder,
    clock: systemClock,
    onSaid(said) {
      // What was observed before it goes before it.
      recorder.flush();
      send({ kind: 'said', said });
    },
  });
}

async function stop(): Promise<void> {
  await server?.close();
  recorder.close();
  process.disconnect();
}

process.on('message', (message: ToObserve) => {
  switch (message.kind) {
    case 'start':
      for (const each of message.expected) known.expect(each);
      start(message.settings).then(
        () => send({ kind: 'started' }),
        (error: unknown) => send({ kind: 'unstarted', error: toCodedErrorJson(error) }, () => process.exit(1)),
      );
      return;
    case 'expect':
      known.expect(message.expected);
      return;
    case 'labelled':
      recorder.answer(message.call, message.outcome);
      return;
    case 'label-failed':
      recorder.answer(message.call, fromCodedErrorJson(message.error));
      return;
    case 'stop':
      void stop();
  }
});
// An observe process without its supervisor would hold the socket against its successor.
followSupervisor();
