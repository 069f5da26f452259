import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '@drover/shared/ids';
import { openReport, type StateBody } from '@drover/shared/protocol';
import { publicKeyOf } from '@drover/shared/trust';
import type { LifeEvent } from '../device/plan.js';
import type { LifeRecord } from '../device/run-life.js';
import {
  TRIAL_DEVICE,
  TRIAL_MODEL,
  type ModelFile,
  type PublishedRelease,
  type Publisher,
} from '../releases/releases.js';
import type { PlannedStep } from './scenarios.js';

/** `bricked`: nothing serves, or it does not start. `lie`: what it reports is not so. `stuck`: an order does not get through. */
export interface Violation {
  readonly kind: 'bricked' | 'lie' | 'stuck';
  readonly what: string;
}

export const ACCEPT_WITHIN_MS = 1_000;

interface AcknowledgedOrder {
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
  readonly #releases = new Map<Digest, PublishedRelease>();
  readonly #models: ReadonlyMap<Digest, ModelFile>;
  readonly #sequences = new Map<number, string>();
  #releaseNumber = 0;
  #acknowledged: AcknowledgedOrder | undefined;
  #committed: PublishedRelease | undefined;
  #previous: PublishedRelease | undefined;
  /** Since a file was damaged and until an order got through again. */
  #isDamaged = false;
  #mustServe = true;

  constructor({ dataDir, publisher }: TrialDeviceOptions) {
    this.dataDir = dataDir;
    this.#publisher = publisher;
    this.#models = new Map([...publisher.models, publisher.adapted].map((model) => [model.digest, model]));
  }

  get isDamaged(): boolean {
    return this.#isDamaged;
  }
  get hasCommitted(): boolean {
    return this.#committed !== undefined;
  }
  nextReleaseNumber(): number {
    return this.#releaseNumber++;
  }
  /** The order that the device owes after a restart. A damaged journal may lose it: the director then signs it anew (docs/protocol.md, section 4). */
  owes(): AcknowledgedOrder | undefined {
    return this.#isDamaged ? undefined : this.#acknowledged;
  }
  knows(published: PublishedRelease, isUnhealthy: boolean): void {
    this.#releases.set(published.release.digest, published);
    if (isUnhealthy) this.unhealthy.push(published.release.digest);
  }
  /** The same releases are known of a copy of a device. */
  knowsAll(other: TrialDevice): void {
    for (const [digest, release] of other.#releases) this.#releases.set(digest, release);
    this.unhealthy.push(...other.unhealthy);
    this.#releaseNumber = other.#releaseNumber;
  }

  /** A file was damaged while the device was off. It has to serve all the same if one of its releases is still whole. */
  wasDamaged(): void {
    this.#isDamaged = true;
    this.#mustServe = [this.#committed, this.#previous].some((release) => release && this.#isWhole(release));
  }

  judge(life: LifeRecord, planned: readonly PlannedStep[]): Violation[] {
    const violations: Violation[] = [];
    const found = (kind: Violation['kind'], what: string): void => void violations.push({ kind, what });
    let state: ModelState | undefined;
    for (const event of life.events) {
      switch (event.event) {
        case 'report':
          state = this.#readReport(event.bytesBase64, found) ?? state;
          break;
        case 'acknowledged':
          this.#noteAcknowledged(event, planned, found);
          break;
        case 'examined':
          this.#judgeState(event, state, found);
          if (event.atStep > 0) this.#judgeOutcome(planned[event.atStep - 1], state, found);
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
        case 'points':
        case 'ended':
          break;
      }
    }
    if (life.ending === 'died') found('bricked', `the process ended by itself. ${life.complaints}`);
    return violations;
  }

  #readReport(bytesBase64: string, found: Found): ModelState | undefined {
    const bytes = Buffer.from(bytesBase64, 'base64');
    const keys = { threshold: 1, keys: [publicKeyOf(this.#publisher.deviceKey)] };
    const report = openReport(bytes, TRIAL_DEVICE, keys);
    const digest = createHash('sha256').update(bytes).digest('hex');
    const known = this.#sequences.get(report.sequence);
    // A device whose outbox was damaged may count anew (docs/protocol.md, section 5).
    if (known !== undefined && known !== digest && !this.#isDamaged) {
      found('lie', `two different reports have the sequence number ${report.sequence}`);
    }
    this.#sequences.set(report.sequence, digest);
    if (report.kind !== 'state') return undefined;
    return (
      report.body.models.find(({ model }) => model === TRIAL_MODEL) ?? { model: TRIAL_MODEL, update: { state: 'idle' } }
    );
  }

  #noteAcknowledged({ deploymentId, tookMs }: Acknowledged, planned: readonly PlannedStep[], found: Found): void {
    if (tookMs > ACCEPT_WITHIN_MS) found('stuck', `an order was accepted only after ${Math.round(tookMs)} ms`);
    for (const { step, counter } of planned) {
      if (counter === undefined) continue;
      if (step.kind === 'order' && step.deploymentId === deploymentId) {
        this.#acknowledged = { counter, deploymentId };
      } else if (step.kind === 'supersede') {
        const { first, second } = step;
        if (first.deploymentId === deploymentId) this.#acknowledged = { counter: counter - 1, deploymentId };
        if (second.deploymentId === deploymentId) this.#acknowledged = { counter, deploymentId };
      }
    }
  }

  /** What the signed report says runs, against what the inference answered. */
  #judgeState({ answer, error }: Examined, state: ModelState | undefined, found: Found): void {
    if (!state) {
      found('lie', 'the device reported no state');
      return;
    }
    const { running, accepted } = state;
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
    if (this.#acknowledged) {
      const { counter } = this.#acknowledged;
      if ((accepted?.counter ?? 0) < counter)
        found('lie', `it acknowledged order ${counter} and now says that it accepted ${accepted?.counter ?? 'none'}`);
    }
    if (state.lastOutcome?.outcome === 'committed') this.#noteCommitted(state.lastOutcome.release.digest);
  }

  #judgeOutcome(planned: PlannedStep | undefined, state: ModelState | undefined, found: Found): void {
    if (planned?.expected === undefined || planned.step.kind === 'adapt' || planned.step.kind === 'drop-adaptation')
      return;
    const { step, expected } = planned;
    const deploymentId = lastOrderOf(step);
    const outcome = state?.lastOutcome;
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
    if (state?.running?.release.digest !== planned.release?.release.digest)
      found('lie', `the order "${step.role}" was committed, and ${state?.running?.release.version ?? 'nothing'} runs`);
    this.#isDamaged = false;
    this.#mustServe = true;
  }

  #noteCommitted(digest: Digest): void {
    const release = this.#releases.get(digest);
    if (!release || release === this.#committed) return;
    this.#previous = this.#committed;
    this.#committed = release;
  }

  #isWhole({ release, paths, files }: PublishedRelease): boolean {
    const folder = join(this.dataDir, 'releases', release.digest.slice(7));
    return [...paths].every(([path, digest]) => {
      const wanted = files.get(digest);
      return wanted !== undefined && readOrEmpty(join(folder, path)).equals(wanted);
    });
  }
}

function lastOrderOf(step: PlannedStep['step']): string | undefined {
  if (step.kind === 'supersede') return step.second.deploymentId;
  return step.kind === 'order' ? step.deploymentId : undefined;
}

type Found = (kind: Violation['kind'], what: string) => void;
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
