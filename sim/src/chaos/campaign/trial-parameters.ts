import type { Digest } from '@drover/shared/ids';
import type { StateBody } from '@drover/shared/protocol';
import { decodeEnvelope } from '@drover/shared/trust';
import type { LifeEvent } from '../device/plan.js';
import type { LifeRecord } from '../device/run-life.js';
import { TRIAL_PARAMETERS, type Published } from '../releases/releases.js';
import type { Found, Violation } from './violation.js';

type ModelState = StateBody['models'][number];

/** What applications of a device are given as parameters, against what the device reports and has committed. Its orders are judged as any other. */
export class TrialParameters {
  readonly #releases = new Map<Digest, Published>();
  #committed: Published | undefined;
  /** Orders since a file was last damaged. How those before ended says no more what the device has. */
  readonly #orders = new Set<string>();

  knows(published: Published): void {
    this.#releases.set(published.release.digest, published);
  }
  knowsAll(other: TrialParameters): void {
    for (const [digest, release] of other.#releases) this.#releases.set(digest, release);
  }

  /** A device that is killed before it has acknowledged an order may have it all the same, and carry it out in its next life. */
  isOrdered(deploymentId: string): void {
    this.#orders.add(deploymentId);
  }

  /** The journal may have lost them, or their release. */
  forget(): void {
    this.#committed = undefined;
    this.#orders.clear();
  }

  judge({ events }: LifeRecord): Violation[] {
    const violations: Violation[] = [];
    let models: readonly ModelState[] = [];
    for (const event of events) {
      if (event.event === 'acknowledged') this.#orders.add(event.deploymentId);
      if (event.event === 'report') models = modelsIn(event.bytesBase64) ?? models;
      if (event.event !== 'examined') continue;
      this.#judgeState(
        event,
        models.find(({ model }) => model === TRIAL_PARAMETERS),
        (kind, what) => void violations.push({ kind, what }),
      );
    }
    return violations;
  }

  #judgeState({ parameters, answer }: Examined, state: ModelState | undefined, found: Found): void {
    const { given, file } = parameters ?? {};
    const { running, lastOutcome, update } = state ?? {};
    if (running?.loaded !== given)
      found('lie', `it reports the parameters ${running?.loaded ?? 'none'}; applications get ${given ?? 'none'}`);
    if (running && this.#releases.get(running.release.digest)?.loaded !== running.loaded)
      found('lie', `it reports values for the parameters ${running.release.version} that are not those of its site`);
    if (answer && file !== given)
      found('lie', `the file of the parameters holds ${file ?? 'nothing'}; applications get ${given ?? 'none'}`);
    if (lastOutcome?.outcome === 'committed' && this.#orders.has(lastOutcome.deploymentId))
      this.#committed = this.#releases.get(lastOutcome.release.digest);
    const isOnTrial = update !== undefined && update.state !== 'idle';
    if (answer && this.#committed && !isOnTrial && given !== this.#committed.loaded)
      found(
        'lie',
        `the parameters ${this.#committed.release.version} are committed; applications get ${given ?? 'none'}`,
      );
  }
}

type Examined = Extract<LifeEvent, { event: 'examined' }>;

/** Whose it is, and that it is signed, is judged of every report (trial-device.ts). */
function modelsIn(bytesBase64: string): readonly ModelState[] | undefined {
  const { payload } = decodeEnvelope(Buffer.from(bytesBase64, 'base64'));
  const report = JSON.parse(Buffer.from(payload, 'base64').toString('utf8')) as { kind: string; body: StateBody };
  return report.kind === 'state' ? report.body.models : undefined;
}
