import type { KeySet, PublicKey } from '@drover/shared/trust';
import type { LifeEvent } from '../device/plan.js';
import { certificateNumber } from '../releases/release-server.js';
import type { Found } from './violation.js';

/** Who a device is by what it said of itself: it enrols once, and its key and its newest certificate stay. */
export class TrialIdentity {
  #publicKey: PublicKey | undefined;
  #certificate = 0;

  /** @throws Error before the device has said who it is */
  get keys(): KeySet {
    if (!this.#publicKey) throw new Error('the device has not said who it is');
    return { threshold: 1, keys: [this.#publicKey] };
  }

  judge(event: Extract<LifeEvent, { event: 'identified' | 'renewed' }>, found: Found): void {
    // One whose end nobody saw may have come through, so a newer one is no surprise.
    const certificate = certificateNumber(event.certificate);
    if (certificate < this.#certificate) found('lie', 'it has an older certificate than it had before');
    this.#certificate = Math.max(this.#certificate, certificate);
    if (event.event === 'renewed') return;
    const { publicKey, isNew } = event;
    if (this.#publicKey && isNew) found('bricked', 'it has forgotten who it is, and somebody would have to visit it');
    if (this.#publicKey && this.#publicKey.publicKey !== publicKey.publicKey)
      found('lie', 'it has another key than the one that it enrolled with');
    this.#publicKey = publicKey;
  }
}
