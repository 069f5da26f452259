import type { Digest } from '@drover/shared/ids';
import { AGENT_MODEL } from '@drover/shared/manifest';
import type { StateBody } from '@drover/shared/protocol';
import type { LifeEvent } from '../device/plan.js';
import type { Published } from '../releases/releases.js';
import type { Found } from './violation.js';

type ModelState = StateBody['models'][number];

/** Which agent runs on a device, by the slot that its launcher started, against what the device reports and has committed. */
export class TrialAgent {
  readonly unreachable: Digest[] = [];
  readonly #releases = new Map<Digest, Published>();
  #committed: Published | undefined;
  /** Since a version may have been damaged: the last outcome may be about that one, so that only what also runs is taken for committed. */
  #isInDoubt = false;

  knows(published: Published, isReachable: boolean): void {
    this.#releases.set(published.release.digest, published);
    if (!isReachable) this.unreachable.push(published.release.digest);
  }
  knowsAll(other: TrialAgent): void {
    for (const [digest, release] of other.#releases) this.#releases.set(digest, release);
    this.unreachable.push(...other.unreachable);
  }

  /** The launcher's record or a delivered version may be gone: what runs then is one that the installer put there. */
  forget(): void {
    this.#committed = undefined;
    this.#isInDoubt = true;
  }

  judge(
    { agentVersion }: Extract<LifeEvent, { event: 'examined' }>,
    models: readonly ModelState[],
    found: Found,
  ): void {
    const state = models.find(({ model }) => model === AGENT_MODEL);
    const running = state?.running;
    if (running && running.release.version !== agentVersion)
      found('lie', `it reports agent ${running.release.version}; ${agentVersion} runs`);
    if (running && this.#releases.get(running.release.digest)?.loaded !== running.loaded)
      found('lie', `it reports a bundle for agent ${running.release.version} that is not that release's`);
    const { outcome, release } = state?.lastOutcome ?? {};
    if (outcome === 'committed' && release && (!this.#isInDoubt || release.version === agentVersion)) {
      this.#committed = this.#releases.get(release.digest) ?? this.#committed;
      this.#isInDoubt = false;
    }
    const isOnTrial = state !== undefined && state.update.state !== 'idle';
    const committed = this.#committed?.release.version;
    if (committed !== undefined && !isOnTrial && committed !== agentVersion)
      found('lie', `agent ${committed} is committed, and ${agentVersion} runs`);
  }
}
