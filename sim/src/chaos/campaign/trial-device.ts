import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '@drover/shared/ids';
import type { ModelName } from '@drover/shared/ids';
import { AGENT_MODEL } from '@drover/shared/manifest';
import { openReport, type StateBody } from '@drover/shared/protocol';
import type { LifeEvent } from '../device/plan.js';
import type { LifeRecord } from '../device/run-life.js';
import type { ModelFile } from '../releases/model-pool.js';
import {
  TRIAL_DEVICE,
  TRIAL_MODEL,
  type Published,
  type PublishedRelease,
  type Publisher,
} from '../releases/releases.js';
import type { PlannedStep } from './scenarios.js';
import { TrialAgent } from './trial-agent.js';
import { TrialIdentity } from './trial-identity.js';
import type { Found, Violation } from './violation.js';

const ACCEPT_WITHIN_MS = 1_000;

interface AcknowledgedOrder {
  readonly epoch: number;
  readonly counter: number;
  readonly deploymentId: string;
}

type ModelState = StateBody['models'][number];

export interface TrialDeviceOptions {
  readonly dataDir: string;
  readonly publisher: Publisher;
}

/** What the outside knows about one device: what it was given, what it acknowledged, what it has said. Judges each of its lives by that. */
export class TrialDevice {
  readonly dataDir: string;
  readonly unhealthy: Digest[] = [];
  readonly #publisher: Publisher;
  readonly #identity = new TrialIdentity();
  readonly #agent = new TrialAgent();
  readonly #releases = new Map<Digest, PublishedRelease>();
  readonly #models: ReadonlyMap<Digest, ModelFile>;
  readonly #sequences = new Map<number, string>();
  #releaseNumber = 0;
  readonly #acknowledged = new Map<ModelName, AcknowledgedOrder>();
  /** Acknowledged since a file was last damaged. */
  readonly #owed = new Map<ModelName, AcknowledgedOrder>();
  #recovery: { readonly epoch: number; readonly bytes: Buffer; isAcknowledged: boolean } | undefined;
  #committed: PublishedRelease | undefined;
  #previous: PublishedRelease | undefined;
  /** Since a file was damaged and until an order got through again. */
  #isDamaged = false;
  #mustServe = true;

  constructor({ dataDir, publisher }: TrialDeviceOptions) {
    this.dataDir = dataDir;
    this.#publisher = publisher;
    const { plain, indexed, novel, adapted } = publisher.pool;
    this.#models = new Map([...plain, ...indexed, novel, adapted].map((model) => [model.digest, model]));
  }

  get isDamaged(): boolean {
    return this.#isDamaged;
  }
  /** Releases of the agent that cannot reach the control plane. */
  get unreachable(): readonly Digest[] {
    return this.#agent.unreachable;
  }
  get hasCommitted(): boolean {
    return this.#committed !== undefined;
  }
  nextReleaseNumber(): number {
    return this.#releaseNumber++;
  }
  /** The orders that the device owes after a restart. A damaged journal may lose how they ended: the director then signs anew (docs/protocol.md, section 4). */
  owes(): PlannedStep[] {
    return [...this.#owed].map(([model, owed]) => ({
      step: { kind: 'carry-on', role: 'carried on', model, ...owed },
    }));
  }
  /** What comes with each connection until the device has it. */
  due(): PlannedStep[] {
    const { epoch = 0, bytes, isAcknowledged = true } = this.#recovery ?? {};
    if (!bytes || isAcknowledged) return [];
    return [{ step: { kind: 'recover', role: 'recovery', epoch, bytesBase64: bytes.toString('base64') } }];
  }
  /** The owners open an epoch. */
  nextEpoch(role: string): PlannedStep {
    this.#recovery = { ...this.#publisher.recover(), isAcknowledged: false };
    const { epoch, bytes } = this.#recovery;
    return { step: { kind: 'recover', role, epoch, bytesBase64: bytes.toString('base64') } };
  }
  knows(published: PublishedRelease, isUnhealthy: boolean): void {
    this.#releases.set(published.release.digest, published);
    if (isUnhealthy) this.unhealthy.push(published.release.digest);
  }
  knowsAgent(published: Published, isReachable: boolean): void {
    this.#agent.knows(published, isReachable);
  }
  /** The same releases are known of a copy of a device. */
  knowsAll(other: TrialDevice): void {
    this.#agent.knowsAll(other.#agent);
    this.#recovery = other.#recovery && { ...other.#recovery, isAcknowledged: false };
    for (const [digest, release] of other.#releases) this.#releases.set(digest, release);
    this.unhealthy.push(...other.unhealthy);
    this.#releaseNumber = other.#releaseNumber;
  }

  /** A file was damaged while the device was off. It has to serve all the same if one of its releases is still whole. */
  wasDamaged(): void {
    this.#agent.forget();
    this.#owed.clear();
    this.#isDamaged = true;
    this.#mustServe = [this.#committed, this.#previous].some((release) => release && this.#isWhole(release));
  }

  judge(life: LifeRecord, planned: readonly PlannedStep[]): Violation[] {
    const violations: Violation[] = [];
    const found = (kind: Violation['kind'], what: string): void => void violations.push({ kind, what });
    let models: readonly ModelState[] | undefined;
    for (const event of life.events) {
      switch (event.event) {
        case 'identified':
        case 'renewed':
          this.#identity.judge(event, found);
          break;
        case 'recovered':
          if (this.#recovery?.epoch === event.epoch) this.#recovery.isAcknowledged = true;
          break;
        case 'report':
          models = this.#readReport(event.bytesBase64, found) ?? models;
          break;
        case 'acknowledged':
          this.#noteAcknowledged(event, planned, found);
          break;
        case 'examined':
          if (!models) {
            found('lie', 'the device reported no state');
            break;
          }
          this.#judgeState(event, stateOf(models, TRIAL_MODEL), found);
          this.#judgeAccepted(models, found);
          this.#agent.judge(event, models, found);
          if (event.atStep > 0) this.#judgeOutcome(planned[event.atStep - 1], models, found);
          break;
        case 'stuck':
          found('stuck', `step ${event.step} did not end; the update is in "${event.state}"`);
          break;
        case 'step-failed':
          found('stuck', `step ${event.step} threw: ${event.error}`);
          break;
        case 'refused':
        case 'incident':
        case 'killed':
        case 'passed':
        case 'ended':
          break;
      }
    }
    if (life.ending === 'died') found('bricked', `the process ended by itself. ${life.complaints}`);
    return violations;
  }

  #readReport(bytesBase64: string, found: Found): readonly ModelState[] | undefined {
    const bytes = Buffer.from(bytesBase64, 'base64');
    const report = openReport(bytes, TRIAL_DEVICE, this.#identity.keys);
    const digest = createHash('sha256').update(bytes).digest('hex');
    const known = this.#sequences.get(report.sequence);
    // A device whose outbox was damaged may count anew (docs/protocol.md, section 5).
    if (known !== undefined && known !== digest && !this.#isDamaged) {
      found('lie', `two different reports have the sequence number ${report.sequence}`);
    }
    this.#sequences.set(report.sequence, digest);
    return report.kind === 'state' ? report.body.models : undefined;
  }

  #noteAcknowledged({ deploymentId, tookMs }: Acknowledged, planned: readonly PlannedStep[], found: Found): void {
    if (tookMs > ACCEPT_WITHIN_MS) found('stuck', `an order was accepted only after ${Math.round(tookMs)} ms`);
    for (const { step, order } of planned) {
      if (!order) continue;
      const note = (counter: number): void => {
        const model = 'model' in step ? step.model : TRIAL_MODEL;
        this.#acknowledged.set(model, { ...order, counter, deploymentId });
        this.#owed.set(model, { ...order, counter, deploymentId });
      };
      if (step.kind === 'order' && step.deploymentId === deploymentId) note(order.counter);
      if (step.kind !== 'supersede') continue;
      if (step.first.deploymentId === deploymentId) note(order.counter - 1);
      if (step.second.deploymentId === deploymentId) note(order.counter);
    }
  }

  /** What the signed report says runs, against what the inference answered. */
  #judgeState({ answer, error }: Examined, { running, lastOutcome }: ModelState, found: Found): void {
    const expected = running && this.#models.get(running.loaded);
    if (running && !answer)
      found('lie', `it reports ${running.release.version} as running and answers: ${error ?? ''}`);
    if (!running && answer) found('lie', 'it reports that nothing runs, and answers');
    if (running && answer) {
      if (!expected || !isClose(expected.answer, answer))
        found('lie', `it reports ${running.loaded} of ${running.release.version}; the answer is of another model`);
      const named = running.adaptation ?? this.#releases.get(running.release.digest)?.model.digest;
      if (named !== running.loaded)
        found(
          'lie',
          `it reports ${running.loaded} as loaded for ${running.release.version}, which is ${named ?? 'unknown'}`,
        );
    }
    if (!answer && this.#committed && this.#mustServe) found('bricked', `nothing serves: ${error ?? 'no answer'}`);
    if (lastOutcome?.outcome === 'committed') this.#noteCommitted(lastOutcome.release.digest);
  }

  /** What was acknowledged stays accepted, also where one file is damaged: journal and mirror stand for each other. */
  #judgeAccepted(models: readonly ModelState[], found: Found): void {
    for (const [model, { epoch, counter }] of this.#acknowledged) {
      const { accepted } = stateOf(models, model);
      const isThere = accepted && (accepted.epoch > epoch || (accepted.epoch === epoch && accepted.counter >= counter));
      const said = accepted ? `${accepted.epoch}.${accepted.counter}` : 'none';
      if (!isThere) found('lie', `it acknowledged order ${epoch}.${counter} and now says that it accepted ${said}`);
    }
  }

  #judgeOutcome(planned: PlannedStep | undefined, models: readonly ModelState[], found: Found): void {
    if (planned?.expected === undefined) return;
    const { step, expected } = planned;
    const model = 'model' in step ? step.model : TRIAL_MODEL;
    const state = stateOf(models, model);
    const deploymentId = lastOrderOf(step);
    const outcome = state.lastOutcome;
    const ended = outcome?.deploymentId === deploymentId ? outcome : undefined;
    if (ended?.outcome !== expected) {
      const { code = '', what = '' } = ended?.error ?? {};
      found(
        'stuck',
        `the order "${step.role}" ended as ${ended?.outcome ?? 'nothing'}, not ${expected} (${code} ${what})`,
      );
      return;
    }
    if (expected !== 'committed') return;
    if (state.running?.release.digest !== planned.release?.release.digest)
      found('lie', `the order "${step.role}" was committed, and ${state.running?.release.version ?? 'nothing'} runs`);
    if (model === AGENT_MODEL) return;
    this.#isDamaged = false;
    this.#mustServe = true;
  }

  #noteCommitted(digest: Digest): void {
    const release = this.#releases.get(digest);
    if (!release || release === this.#committed) return;
    this.#previous = this.#committed;
    this.#committed = release;
  }

  #isWhole({ release, paths, files, manifestBytes }: PublishedRelease): boolean {
    const folder = join(this.dataDir, 'releases', release.digest.slice(7));
    const has = (path: string, wanted: Uint8Array | undefined): boolean =>
      wanted !== undefined && readOrEmpty(join(folder, path)).equals(wanted);
    return has('.release.json', manifestBytes) && [...paths].every(([path, digest]) => has(path, files.get(digest)));
  }
}

function lastOrderOf(step: PlannedStep['step']): string | undefined {
  if (step.kind === 'supersede') return step.second.deploymentId;
  return step.kind === 'order' ? step.deploymentId : undefined;
}

const stateOf = (models: readonly ModelState[], model: ModelName): ModelState =>
  models.find((each) => each.model === model) ?? { model, update: { state: 'idle' } };

type Acknowledged = Extract<LifeEvent, { event: 'acknowledged' }>;
type Examined = Extract<LifeEvent, { event: 'examined' }>;

const isClose = (expected: readonly number[], actual: readonly number[]): boolean =>
  expected.length === actual.length &&
  expected.every((value, index) => Math.abs(value - (actual[index] ?? NaN)) < 1e-6);

function readOrEmpty(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    if (error instanceof Error && 'code' in error && ['ENOENT', 'ENOTDIR'].includes(String(error.code)))
      return Buffer.alloc(0);
    throw error;
  }
}
