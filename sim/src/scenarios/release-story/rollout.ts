import type { Operator } from '../../fleet/index.js';
import { until } from '../../fleet/index.js';
import type { Scene } from './scene.js';

/** The part of the control plane's answer that the story reads. */
export interface RolloutView {
  readonly id: string;
  readonly state: string;
  readonly reason: string;
  readonly stage: { readonly index: number; readonly name: string; readonly devices: number };
  readonly devices: Readonly<Record<string, number>> & { readonly total: number };
  readonly members: readonly {
    readonly device: string;
    readonly state: string;
    readonly reason: string;
    readonly previousVersion?: string;
  }[];
  readonly stageRuns: readonly {
    readonly stage: number;
    readonly verdict?: string;
    readonly evidence?: { readonly reason: string };
  }[];
}

/** Why the last stage was judged as it was. */
export const verdictReason = ({ stageRuns, reason }: RolloutView): string =>
  stageRuns.at(-1)?.evidence?.reason ?? reason;

interface EventView {
  readonly id: number;
  readonly message: string;
}

export interface RolloutOrder {
  readonly version: string;
  /** Absent: the whole fleet, in stages; else these devices at once. */
  readonly devices?: readonly string[];
}

/** Three devices, half of the fleet, all. Margins wide enough for a verdict in seconds, and error rates as one would set them. */
const STAGES = [
  { name: 'canary', devices: 3 },
  { name: 'half', share: 0.5 },
  { name: 'all', share: 1 },
];
const GATE = {
  metric: 'accuracy',
  acceptableDrop: 0.05,
  unacceptableDrop: 0.2,
  alpha: 0.01,
  beta: 0.05,
  minSoakMs: 2_000,
  timeoutMs: 60_000,
  failureShare: { acceptable: 0.05, unacceptable: 0.5 },
};
const PROBATION = { minMs: 1_500, minRequests: 3, maxMs: 20_000, maxFailureShare: 0.1, maxCrashes: 2 };

export function createRollout(
  { model, controlPlane }: Scene,
  { version, devices }: RolloutOrder,
): Promise<RolloutView> {
  return controlPlane.operator.send('POST', '/api/v1/rollouts', {
    model,
    version,
    selector: devices ? { devices } : { all: true },
    stages: devices ? [{ name: 'all', share: 1 }] : STAGES,
    gate: GATE,
    probation: PROBATION,
    autoRevert: true,
  });
}

export const showRollout = (operator: Operator, id: string): Promise<RolloutView> =>
  operator.get(`/api/v1/rollouts/${id}`);

const FINAL = new Set(['completed', 'reverted', 'aborted']);

/** Tells what happens until the rollout is over, or halted with nothing to revert. */
export async function followRollout(scene: Scene, id: string, timeoutMs: number): Promise<RolloutView> {
  const { operator } = scene.controlPlane;
  let after = 0;
  let last: RolloutView | undefined;
  return until(
    async () => {
      const events = await operator.get<{ items: EventView[] }>(`/api/v1/rollouts/${id}/events?after=${after}`);
      for (const event of events.items) {
        after = event.id;
        scene.say(event.message);
      }
      last = await showRollout(operator, id);
      return FINAL.has(last.state) || last.state === 'halted' ? last : undefined;
    },
    {
      what: 'the end of the rollout',
      timeoutMs,
      everyMs: 300,
      signal: scene.signal,
      state: () => (last ? `${last.state} in stage ${last.stage.name}: ${last.reason}` : 'nothing'),
    },
  );
}

/** Accuracy of every release in the field, by the truth that applications sent, since a moment. */
export async function fieldAccuracy({ model, controlPlane }: Scene, sinceMs: number, version?: string) {
  const { items } = await controlPlane.operator.get<{
    items: {
      release: { version: string };
      devices: number;
      requests: number;
      failures: number;
      labelled: number;
      correct: number;
    }[];
  }>(`/api/v1/models/${model}/field?since=${Math.round(sinceMs)}`);
  const chosen = items.filter(({ release }) => version === undefined || release.version === version);
  const sum = (key: 'devices' | 'requests' | 'failures' | 'labelled' | 'correct') =>
    chosen.reduce((total, item) => total + item[key], 0);
  const labelled = sum('labelled');
  return {
    labelled,
    accuracy: labelled === 0 ? undefined : sum('correct') / labelled,
    requests: sum('requests'),
    failures: sum('failures'),
  };
}

export interface ReportView<Body> {
  readonly id: number;
  readonly deviceId: string;
  readonly receivedAt: number;
  readonly body: Body;
}

/** All reports of a kind after a row id. */
export async function reportsOf<Body>(
  operator: Operator,
  kind: string,
  after = 0,
  device?: string,
): Promise<ReportView<Body>[]> {
  const found: ReportView<Body>[] = [];
  let from: number | undefined = after;
  while (from !== undefined) {
    const query: string = `kind=${kind}&after=${from}${device === undefined ? '' : `&device=${device}`}`;
    const page: { items: ReportView<Body>[]; next?: number } = await operator.get(`/api/v1/reports?${query}`);
    found.push(...page.items);
    from = page.next;
  }
  return found;
}
