import type { DeviceId } from '@drover/shared/ids';
import { MAX_LISTED_LABELS, type LabelOutcome } from '@drover/shared/protocol';
import type { AgentConfig } from '../config/index.js';
import type { Clock } from '../host/index.js';
import type { ReporterOptions, TelemetryStore } from '../monitor/index.js';
import { takeLabelAnswers, type LabelAnswersOptions } from './label-answers.js';
import type { Log } from './log.js';

export interface LabellingOptions extends Pick<LabelAnswersOptions, 'director' | 'active' | 'onIncident'> {
  readonly settings: AgentConfig['labels'];
  readonly deviceId: DeviceId;
  readonly telemetry: TelemetryStore;
  readonly isDrifting: () => boolean;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Log;
}

export interface Labelling {
  /** What goes out with telemetry: what is asked for, and what became of answers. */
  readonly reported: Pick<ReporterOptions, 'labelTerms' | 'takeLabelOutcomes'>;
  /** Looks what it would like labelled; where that is turned off, closes what was still asked for. */
  ask(): Promise<void>;
  /** Answers that were given at the control plane. @returns whether there is something to tell of them */
  receive(envelope: Uint8Array): Promise<boolean>;
  /** What was told before may have been lost. */
  listAfresh(): void;
}

const DAY_MS = 24 * 3_600_000;

/** What this device would like labelled, between the store, the reports and the answers. */
export function createLabelling(options: LabellingOptions): Labelling {
  const { deviceId, telemetry, director, active, isDrifting, clock, log, onIncident } = options;
  const { expireAfterDays, sendFeatures, ...labelling } = options.settings;
  const expireAfterMs = expireAfterDays * DAY_MS;
  let isListedAfresh = false;
  const outcomes: LabelOutcome[] = [];
  return {
    reported: {
      labelTerms() {
        const isAfresh = isListedAfresh;
        isListedAfresh = false;
        return { maxOpen: MAX_LISTED_LABELS, sendFeatures, expireAfterMs, isAfresh, nowMs: clock.now() };
      },
      takeLabelOutcomes: (limit) => outcomes.splice(0, limit),
    },
    async ask() {
      const look = { ...labelling, expireAfterMs, isDrifting: isDrifting(), nowMs: clock.now() };
      const count = await telemetry.requestLabels(look);
      if (count > 0) log.info('labels requested', { count });
    },
    async receive(envelope) {
      const became = await takeLabelAnswers(envelope, {
        deviceId,
        director,
        active,
        desk: telemetry,
        clock,
        onIncident,
      });
      log.info('labels received', { outcomes: became });
      outcomes.push(...became);
      return became.length > 0;
    },
    listAfresh: () => void (isListedAfresh = true),
  };
}
