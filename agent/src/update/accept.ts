import { compareVersions, type DeviceId, type Digest, type Version } from '@drover/shared/ids';
import { kindOf, orderKindOf, releaseLineOf } from '@drover/shared/manifest';
import type { Deployment } from '@drover/shared/protocol';
import { UpdateError } from './errors.js';

export interface ReleaseRef {
  readonly version: Version;
  readonly digest: Digest;
}

/** (epoch, counter) of an order; compared in this order. */
export interface OrderNumber {
  readonly epoch: number;
  readonly counter: number;
}

export interface AcceptanceFacts {
  readonly deviceId: DeviceId;
  readonly hardwareClass: string;
  /** The label that this device was enrolled with. */
  readonly site?: string | undefined;
  /** The only one that orders may carry: that of enrolment, or of the newest recovery statement. */
  readonly epoch: number;
  /** Number of the last accepted order for this model. */
  readonly accepted?: OrderNumber | undefined;
  /** The committed release, if there is one. */
  readonly running?: ReleaseRef | undefined;
  /** The oldest release that the publisher of the running one allows to go back to. */
  readonly revertFloor?: Version | undefined;
  /** The wall clock, or the time floor where that is later (host/time-floor.ts). */
  readonly nowMs: number;
}

/**
 * Decides whether a deployment whose signature holds may be carried out; throws the reason if not (docs/protocol.md, section 4, steps 3 to 7).
 * The checks against replay come before expiry, because the counter holds even where the clock does not.
 *
 * @throws UpdateError DEPLOYMENT_WRONG_DEVICE, _WRONG_HARDWARE, _WRONG_SITE, _WRONG_TERMS, _EPOCH_UNPROVEN, _REPLAYED, _EXPIRED, _ROLLBACK_REFUSED, _BELOW_REVERT_FLOOR
 */
export function verifyDeployment(order: Deployment, facts: AcceptanceFacts): void {
  verifyAddressee(order, facts);
  verifyTerms(order);
  verifyFreshness(order, facts);
  verifyDirection(order, facts);
}

/** Section 4, steps 3 and 4: an order for one device, kind of hardware or site means nothing to another. */
function verifyAddressee(order: Deployment, { deviceId, hardwareClass, site }: AcceptanceFacts): void {
  if (order.deviceId !== deviceId) {
    throw new UpdateError(
      'DEPLOYMENT_WRONG_DEVICE',
      `The order is for ${order.deviceId}; this device is ${deviceId}.`,
      {
        remedy: 'Check who publishes to the order topic of this device.',
      },
    );
  }
  if (order.hardwareClass !== hardwareClass) {
    throw new UpdateError(
      'DEPLOYMENT_WRONG_HARDWARE',
      `The order is for the hardware class "${order.hardwareClass}"; this device is "${hardwareClass}".`,
      { remedy: 'Enrol the device again with its true hardware class, or order the release for the right one.' },
    );
  }
  // Only parameters differ from site to site: what the director means by the order and what the device would do have to be the same.
  if (kindOf(order.model) === 'parameters' && order.site !== site) {
    throw new UpdateError(
      'DEPLOYMENT_WRONG_SITE',
      `The order is for ${siteName(order.site)}; this device was enrolled at ${siteName(site)}.`,
      { remedy: 'Enrol the device again with a claim token for its site, and order the parameters again.' },
    );
  }
}

/** Section 4, step 4: what the name of an order says and what else stands in it have to agree. */
function verifyTerms({ model, trial, downgrade }: Deployment): void {
  const isTrial = orderKindOf(model) === 'trial';
  const wrong = (why: string) =>
    new UpdateError('DEPLOYMENT_WRONG_TERMS', `The order for ${model} ${why}.`, {
      remedy: 'Update the control plane; if it is up to date, look for who has the key of the director.',
    });
  if (!isTrial && trial) throw wrong('says how to try a release, and is no trial');
  if (!isTrial) return;
  if (!trial) throw wrong('is a trial, and does not say of what kind and how long');
  if (downgrade) throw wrong('is a trial, which changes no release, and grants a way back');
  if (kindOf(releaseLineOf(model)) !== 'model') throw wrong('would try what is no model');
}

const siteName = (site: string | undefined): string => (site === undefined ? 'no site' : `the site "${site}"`);

/** Section 4, steps 5 and 6. The nonce needs no list of its own: the number of each order is higher than all before it. */
function verifyFreshness(order: Deployment, { epoch, accepted, nowMs }: AcceptanceFacts): void {
  if (order.epoch > epoch) {
    throw new UpdateError(
      'DEPLOYMENT_EPOCH_UNPROVEN',
      `The order has the epoch ${order.epoch}, which no statement of the root keys has opened; it is ${epoch} here.`,
      {
        remedy:
          'After a restored backup: `drover recovery request`. Otherwise look for who has the key of the director.',
      },
    );
  }
  if (order.epoch < epoch) {
    throw new UpdateError('DEPLOYMENT_REPLAYED', `The order has the epoch ${order.epoch}; it is ${epoch} here.`, {
      remedy: 'Nothing, if it is an old order that was sent again.',
    });
  }
  if (accepted && !isAbove(order, accepted)) {
    throw new UpdateError(
      'DEPLOYMENT_REPLAYED',
      `The order has the number ${order.epoch}.${order.counter}; ${accepted.epoch}.${accepted.counter} was already accepted.`,
      {
        remedy:
          'Nothing, if it is an old order that was sent again. After a restored backup: `drover recovery request`.',
      },
    );
  }
  if (order.expiresAt <= nowMs) {
    throw new UpdateError(
      'DEPLOYMENT_EXPIRED',
      `The order expired at ${new Date(order.expiresAt).toISOString()}; it is ${new Date(nowMs).toISOString()} here.`,
      { remedy: 'Order the release again. If the time here is wrong, mend the clock of the device (timedatectl).' },
    );
  }
}

/** Section 4, step 7: forwards freely; backwards only with a grant for exactly this step, and never below the publisher's floor. */
function verifyDirection(order: Deployment, { running, revertFloor, nowMs }: AcceptanceFacts): void {
  if (!running || compareVersions(order.release.version, running.version) >= 0) return;
  const { downgrade } = order;
  const step = `from ${running.version} to ${order.release.version}`;
  const refuse = (why: string) =>
    new UpdateError('DEPLOYMENT_ROLLBACK_REFUSED', `The order goes back ${step}, and ${why}.`, {
      remedy: 'Revert with `drover rollout abort --revert`, which signs a downgrade grant for each device.',
    });
  if (!downgrade) throw refuse('carries no downgrade grant');
  if (downgrade.from.digest !== running.digest || downgrade.to.digest !== order.release.digest) {
    throw refuse(`its grant is for another step (from ${downgrade.from.version} to ${downgrade.to.version})`);
  }
  if (downgrade.expiresAt <= nowMs) throw refuse(`its grant expired at ${new Date(downgrade.expiresAt).toISOString()}`);
  if (revertFloor !== undefined && compareVersions(order.release.version, revertFloor) < 0) {
    throw new UpdateError(
      'DEPLOYMENT_BELOW_REVERT_FLOOR',
      `The order goes back ${step}; the publisher allows nothing below ${revertFloor}.`,
      { remedy: `Revert to ${revertFloor} or later, or publish a new release.` },
    );
  }
}

const isAbove = (order: OrderNumber, accepted: OrderNumber): boolean =>
  order.epoch > accepted.epoch || (order.epoch === accepted.epoch && order.counter > accepted.counter);
