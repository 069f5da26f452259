import type { CodedErrorJson } from '@drover/shared/coded-error';
import type { RepositoryStanding } from '@drover/shared/protocol';
import type { RepositoryStatus } from '@drover/shared/trust/tuf';
import type { Clock } from '../host/index.js';
import type { Updater } from '../update/index.js';
import { toReportableError } from '../update/reportable.js';

/** What a device says about its trust in the release repository. */
export interface RepositoryReport {
  readonly rootVersion: number;
  readonly rootExpiresAt: string;
  /** Until when what is known counts as fresh; absent before the first refresh. */
  readonly freshUntil?: string;
  /** Why the device can't tell whether there is something newer. It serves all the same. */
  readonly stale?: CodedErrorJson;
  /** Why the last look by its own failed. */
  readonly lastFailure?: CodedErrorJson;
}

const toTime = (atMs: number): string => new Date(atMs).toISOString();

const toReport = (
  { root, freshUntilMs, stale }: RepositoryStatus,
  lastFailure: CodedErrorJson | undefined,
): RepositoryReport => ({
  rootVersion: root.version,
  rootExpiresAt: toTime(root.expiresAtMs),
  ...(freshUntilMs === undefined || Number.isNaN(freshUntilMs) ? {} : { freshUntil: toTime(freshUntilMs) }),
  ...(stale === undefined ? {} : { stale: toReportableError(stale) }),
  ...(lastFailure === undefined ? {} : { lastFailure }),
});

const toStanding = (
  { root, timestamp, freshUntilMs, stale }: RepositoryStatus,
  lastFailure: CodedErrorJson | undefined,
): RepositoryStanding => ({
  rootVersion: root.version,
  ...(freshUntilMs === undefined || Number.isNaN(freshUntilMs) ? {} : { freshUntil: freshUntilMs }),
  // Before the first refresh there is nothing that could have gone stale.
  ...(stale === undefined || timestamp === undefined ? {} : { stale: toReportableError(stale) }),
  ...(lastFailure === undefined ? {} : { lastFailure }),
});

export interface RepositoryWatchOptions {
  readonly updater: Pick<Updater, 'repository' | 'refreshRepository'>;
  readonly clock: Clock;
  readonly onIncident: (error: unknown) => void;
}

/** The timestamp holds for days and is fetched in a few hundred bytes: twice a day costs nothing and notices a freeze in time. */
const LOOK_EVERY_MS = 12 * 3_600_000;
/** After a look that failed, for whatever reason. */
const RETRY_EVERY_MS = 3_600_000;

/**
 * Looks at the release repository also where nothing is ordered, so that a device notices by itself that it is kept from news. It tells the operator
 * once for each reason; a network that is down is told by the link already.
 */
export function createRepositoryWatch({ updater, clock, onIncident }: RepositoryWatchOptions) {
  const stopping = new AbortController();
  let nextAtMs = clock.monotonic();
  let told: string | undefined;
  let lastFailure: CodedErrorJson | undefined;
  return {
    report: () => toReport(updater.repository(), lastFailure),
    /** The same for the control plane, which may be the one that holds news back: it says so wherever else it can. */
    standing: () => toStanding(updater.repository(), lastFailure),
    async look(): Promise<void> {
      if (clock.monotonic() < nextAtMs) return;
      nextAtMs = clock.monotonic() + LOOK_EVERY_MS;
      try {
        await updater.refreshRepository(stopping.signal);
        lastFailure = undefined;
      } catch (error) {
        // One failed look makes nothing stale: it is told below once that is so.
        lastFailure = toReportableError(error);
        nextAtMs = clock.monotonic() + RETRY_EVERY_MS;
      }
      if (stopping.signal.aborted) return;
      const { timestamp, stale } = updater.repository();
      // Before the first refresh there is nothing that could have gone stale.
      const code = timestamp === undefined ? undefined : stale?.code;
      if (code !== undefined && code !== told) onIncident(stale);
      told = code;
    },
    stop: () => {
      stopping.abort();
      return Promise.resolve();
    },
  };
}
