import type { TelemetryBody } from '@drover/shared/protocol';
import type { Reporter } from '../monitor/index.js';

/**
 * Takes the counts out of the store and hands them on. What could not be handed on (a full disk) is kept and tried first the next time, while
 * later counts wait in the store: none is lost, and none counts twice.
 *
 * @param store stores a report; false when it could not
 */
export function createTelemetryReports(
  reporter: Reporter,
  store: (body: TelemetryBody) => boolean,
): { next(): Promise<void>; flush(): void } {
  let unsent: TelemetryBody | undefined;
  let turn: Promise<void> = Promise.resolve();
  const flush = (): void => {
    if (unsent && store(unsent)) unsent = undefined;
  };
  const take = async (): Promise<void> => {
    unsent ??= await reporter.telemetryBody();
    flush();
  };
  return {
    /** One after the other: of two that took counts at once, one would be forgotten. */
    next() {
      const taken = turn.then(take);
      turn = taken.catch(() => undefined);
      return taken;
    },
    flush,
  };
}
