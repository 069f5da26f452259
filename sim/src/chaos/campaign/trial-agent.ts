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
    if (state?.lastOutcome?.outcome === 'committed')
      this.#committed = this.#releases.get(state.lastOutcome.release.digest) ?? this.#committed;
    const isOnTrial = state !== undefined && state.update.state !== 'idle';
    const committed = this.#committed?.release.version;
    if (committed !== undefined && !isOnTrial && committed !== agentVersion)
      found('lie', `agent ${committed} is committed, and ${agentVersion} runs`);
  }
}
