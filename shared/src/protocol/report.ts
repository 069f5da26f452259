import { Type, type Static } from 'typebox';
import { ComparisonCounts } from './comparison.js';
import { LabelOutcome } from './label-answers.js';
import { LabelListing } from './label-listing.js';
import { TrialTerms } from './trial.js';
import {
  atMs,
  attributes,
  count,
  deploymentId,
  deviceId,
  digest,
  modelName,
  protocol,
  release,
  share,
  text,
} from './vocabulary.js';

export const REPORT_TYPE = 'application/vnd.drover.report+json';

/** Persisted and reported names of update states; stable across versions (docs/protocol.md, section 6). */
export const UpdateState = Type.Enum([
  'idle',
  'received',
  'fetching',
  'verifying',
  'staging',
  'self-testing',
  'activating',
  'probation',
  'committing',
  'falling-back',
  'cleaning-up',
]);
export type UpdateState = Static<typeof UpdateState>;

const codedError = Type.Object({
  code: text(64),
  what: text(2000),
  remedy: text(2000),
  where: Type.Optional(text(500)),
});

/** Requested order, the provider that a run proved, and why it is not the first of the order. */
export const ProviderReport = Type.Object({
  requested: Type.Array(text(32), { maxItems: 8 }),
  actual: text(32),
  reason: Type.Optional(text(2000)),
  /** From the beginning of loading to the first answer, on this provider. Older agents leave it out. */
  firstInferenceMs: Type.Optional(Type.Number({ minimum: 0 })),
  /** Of a provider that compiles the model for the device: taken from an earlier start, built and kept, or built for this session alone. */
  engine: Type.Optional(Type.Enum(['reused', 'built', 'unkept'])),
});
export type ProviderReport = Static<typeof ProviderReport>;

/** What the inference process has loaded, by its own word: never what was merely written to disk. */
export const RunningModel = Type.Object({
  release,
  /** Digest of the bytes that the inference process loaded: the variant's file, or the adaptation's. */
  loaded: digest,
  adaptation: Type.Optional(digest),
  provider: ProviderReport,
  /** Of a release that is tried. Reports may grow keys, orders may not. */
  trial: Type.Optional(Type.Object(TrialTerms.properties)),
});
export type RunningModel = Static<typeof RunningModel>;

/** What a device knows of the release repository, and why it is not sure of it. Older agents leave it out. */
export const RepositoryStanding = Type.Object({
  rootVersion: count,
  /** Until when what it verified holds; absent before the first time that it had everything. */
  freshUntil: Type.Optional(atMs),
  /** Why it takes nothing new: something expired, and nothing newer was to be had. */
  stale: Type.Optional(codedError),
  /** Why its last look failed. One alone makes nothing stale. */
  lastFailure: Type.Optional(codedError),
});
export type RepositoryStanding = Static<typeof RepositoryStanding>;

export const StateBody = Type.Object({
  agentVersion: text(64),
  hardwareClass: text(64),
  attributes,
  repository: Type.Optional(RepositoryStanding),
  /** The kinds of releases that can be ordered of it, and the later parts of manifests that it reads. An agent that says nothing takes models and releases of itself. */
  takes: Type.Optional(Type.Array(text(32), { maxItems: 16 })),
  models: Type.Array(
    Type.Object({
      model: modelName,
      running: Type.Optional(RunningModel),
      update: Type.Object({
        state: UpdateState,
        deploymentId: Type.Optional(deploymentId),
        release: Type.Optional(release),
      }),
      /** The last accepted order: what the director's next one has to exceed. */
      accepted: Type.Optional(Type.Object({ epoch: count, counter: count })),
      /** How the last deployment ended. */
      lastOutcome: Type.Optional(
        Type.Object({
          deploymentId,
          release,
          outcome: Type.Union([Type.Literal('committed'), Type.Literal('fell-back'), Type.Literal('refused')]),
          error: Type.Optional(codedError),
        }),
      ),
    }),
    { maxItems: 64 },
  ),
});
export type StateBody = Static<typeof StateBody>;

export const TransitionBody = Type.Object({
  deploymentId,
  model: modelName,
  release,
  from: UpdateState,
  to: UpdateState,
  reason: text(2000),
  error: Type.Optional(codedError),
});
export type TransitionBody = Static<typeof TransitionBody>;

/** A document that the device did not accept, with the reason; the operator sees it. */
export const RefusalBody = Type.Object({
  subject: Type.Union([Type.Literal('deployment'), Type.Literal('release'), Type.Literal('recovery')]),
  deploymentId: Type.Optional(deploymentId),
  error: codedError,
});
export type RefusalBody = Static<typeof RefusalBody>;

export const HostMetrics = Type.Object({
  cpuShare: Type.Optional(share),
  memoryTotalMiB: Type.Optional(Type.Number({ minimum: 0 })),
  memoryUsedMiB: Type.Optional(Type.Number({ minimum: 0 })),
  diskTotalMiB: Type.Optional(Type.Number({ minimum: 0 })),
  diskFreeMiB: Type.Optional(Type.Number({ minimum: 0 })),
  temperatureC: Type.Optional(Type.Number()),
  gpu: Type.Optional(
    Type.Object({
      name: text(200),
      memoryUsedMiB: Type.Optional(Type.Number()),
      utilizationShare: Type.Optional(Type.Number()),
    }),
  ),
});
export type HostMetrics = Static<typeof HostMetrics>;

/** Counts of one reporting window for one model, split by what was loaded while they were made. */
export const ServingCounts = Type.Object({
  model: modelName,
  release,
  adaptation: Type.Optional(digest),
  requests: count,
  failures: count,
  inferences: count,
  latencyUs: Type.Optional(Type.Object({ p50: count, p99: count, max: count })),
  /** Inferences whose true label arrived in this window, how many of them were right, and for how many a second label said something else. */
  labelled: Type.Object({ count, correct: count, conflicting: Type.Optional(count) }),
  /** Of labels that were asked for because the model was unsure. They are not among those above, and say nothing of how often it is right. */
  targeted: Type.Optional(Type.Object({ count, correct: count })),
  /** Of the values of a regression whose truth arrived in this window, in the unit of the task: by how much they were too large. */
  errors: Type.Optional(
    Type.Object({
      count,
      mean: Type.Number(),
      meanAbsolute: Type.Number({ minimum: 0 }),
      meanSquare: Type.Number({ minimum: 0 }),
    }),
  ),
  confidence: Type.Optional(Type.Object({ count, mean: Type.Number() })),
  predictions: Type.Optional(Type.Record(Type.String(), count)),
});
export type ServingCounts = Static<typeof ServingCounts>;

/** What became of inputs that were held against the contract of their release: sums of one hour so far, so that the newest report counts. */
export const InputHour = Type.Object({
  model: modelName,
  release,
  adaptation: Type.Optional(digest),
  /** Since 1970, by the clock of the device. */
  hour: count,
  rows: count,
  refusedRequests: count,
  /** Of the rules that were broken, or that a window was judged by; not more than the 128 of each hour that were first. */
  violations: Type.Array(
    Type.Object({
      /** Its place among all rules of the contract. */
      rule: count,
      input: text(200),
      /** Name or index of the column; absent for every value of the input. */
      feature: Type.Optional(text(200)),
      says: text(200),
      rows: count,
      windows: count,
      /** Windows in which too few rows held. */
      windowsBelow: count,
      /** Of the newest window: the rows that held, and whether those are too few. */
      share: Type.Optional(share),
      isBelow: Type.Optional(Type.Boolean()),
    }),
    { maxItems: 1000 },
  ),
});
export type InputHour = Static<typeof InputHour>;

export const TelemetryBody = Type.Object({
  windowMs: count,
  host: Type.Optional(HostMetrics),
  models: Type.Array(ServingCounts, { maxItems: 64 }),
  /** Hours that changed since they were last reported. Older agents leave it out. */
  inputs: Type.Optional(Type.Array(InputHour, { maxItems: 64 })),
  /** Of releases that are tried, one for each pair; absent where there are none. */
  comparisons: Type.Optional(Type.Array(ComparisonCounts, { maxItems: 64 })),
  /** Absent while nothing has changed in it. */
  labels: Type.Optional(LabelListing),
  /** What became of answers that came from the control plane since the last report. */
  labelOutcomes: Type.Optional(Type.Array(LabelOutcome, { maxItems: 200 })),
});
export type TelemetryBody = Static<typeof TelemetryBody>;

export const DriftBody = Type.Object({
  model: modelName,
  release,
  status: Type.Union([Type.Literal('raised'), Type.Literal('cleared')]),
  detector: text(64),
  windowSize: count,
  /** Time of the last sample of the window. */
  windowEndAt: atMs,
  statistic: Type.Number(),
  threshold: Type.Number(),
  /** Probability that a window without drift raises this alarm, over all features. */
  falseAlarmRate: share,
  worst: Type.Array(Type.Object({ feature: count, name: Type.Optional(text(200)), statistic: Type.Number() }), {
    maxItems: 16,
  }),
});
export type DriftBody = Static<typeof DriftBody>;

const scored = Type.Object({ count, before: share, after: share });

export const AdaptationBody = Type.Object({
  model: modelName,
  base: release,
  /** Digest of the fine-tuned model file. */
  adaptation: digest,
  verdict: Type.Union([
    Type.Literal('PASS'),
    Type.Literal('FAIL'),
    Type.Literal('INCONCLUSIVE'),
    Type.Literal('NO_DATA'),
  ]),
  reason: text(2000),
  /** Accuracy on recent labelled samples that training did not see, and on the sealed anchor set. */
  holdout: scored,
  anchor: scored,
  trainedOn: Type.Object({ labelled: count, replayed: count, dataset: digest }),
  steps: count,
  active: Type.Boolean(),
});
export type AdaptationBody = Static<typeof AdaptationBody>;

/** A coded error that somebody should see: a full disk, a rebuilt database, a lost broker. */
export const IncidentBody = Type.Object({ error: codedError });
export type IncidentBody = Static<typeof IncidentBody>;

export const REPORT_BODIES = {
  state: StateBody,
  transition: TransitionBody,
  refusal: RefusalBody,
  telemetry: TelemetryBody,
  drift: DriftBody,
  adaptation: AdaptationBody,
  incident: IncidentBody,
} as const;

export type ReportKind = keyof typeof REPORT_BODIES;
export type ReportBody<Kind extends ReportKind> = Static<(typeof REPORT_BODIES)[Kind]>;

/** Frame of every report. `sequence` grows by one per report of a device and survives restarts; it makes ingestion idempotent. */
export const ReportFrame = Type.Object({
  protocol,
  kind: text(32),
  deviceId,
  sequence: Type.Integer({ minimum: 1 }),
  at: atMs,
  body: Type.Unknown(),
});

/** One report of a device: discriminated by `kind`. */
export type Report = {
  [Kind in ReportKind]: {
    readonly protocol: 1;
    readonly kind: Kind;
    readonly deviceId: Static<typeof deviceId>;
    readonly sequence: number;
    readonly at: number;
    readonly body: ReportBody<Kind>;
  };
}[ReportKind];
