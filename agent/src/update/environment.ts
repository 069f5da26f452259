import type { IncidentBody, RefusalBody, TransitionBody, UpdateState } from '@drover/shared/protocol';
import type { Clock } from '../host/index.js';
import type { Bandwidth } from './delivery/bandwidth.js';
import type { RetryBounds } from './download.js';
import type { ReleaseSource } from './fetch.js';
import type { Journal } from './journal.js';
import type { WriteGate } from './kill-points.js';
import type { DeviceFacts, Runners } from './kinds/index.js';
import type { ReleaseStore } from './store.js';
import type { TrustedRepository } from './trusted-repository.js';

/** What all models of a device share. */
export interface UpdateEnvironment extends DeviceFacts, Runners {
  readonly repository: TrustedRepository;
  readonly source: ReleaseSource;
  readonly clock: Clock;
  readonly store: ReleaseStore;
  readonly journal: Journal;
  readonly gate: WriteGate;
  readonly retry: RetryBounds;
  readonly bandwidth: Bandwidth;
  readonly deadlinesMs: Partial<Record<UpdateState, number>>;
  readonly onTransition: (transition: TransitionBody) => void;
  readonly onRefusal: (refusal: RefusalBody) => void;
  readonly activationDeadlineMs: number;
  readonly onIncident: (incident: IncidentBody) => void;
  /** Removes from the store what no model refers to. */
  readonly collect: () => void;
}
