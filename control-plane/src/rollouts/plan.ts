import { createHash } from 'node:crypto';
import type { DeviceId, RolloutId } from '@drover/shared/ids';
import type { Stage } from './request.js';

export interface Candidate {
  readonly id: DeviceId;
  readonly hardwareClass: string;
  readonly attributes: Readonly<Record<string, string>>;
}

export interface Assignment {
  readonly deviceId: DeviceId;
  /** 0 is ordered first. */
  readonly position: number;
  readonly stratum: string;
}

/** A device that has the release, and the devices without it that it is compared with. */
export interface Match {
  readonly device: DeviceId;
  readonly controls: readonly DeviceId[];
  /** False when no device of the same stratum was left. */
  readonly sameStratum: boolean;
}

/** More controls than this take devices away from other pairs without making one pair's difference much steadier. */
const MAX_CONTROLS = 5;

/** Devices are alike when they stand at one site and are of one hardware class: what the world does to one it does to the others. */
export const stratumOf = ({ hardwareClass, attributes }: Candidate): string =>
  `site=${attributes.site ?? ''};hardware=${hardwareClass}`;

const drawOf = (rolloutId: RolloutId, deviceId: DeviceId): string =>
  createHash('sha256').update(`${rolloutId}\n${deviceId}`).digest('hex');

const byText = (left: string, right: string): number => (left < right ? -1 : left > right ? 1 : 0);

/**
 * Order in which devices get the release: drawn by a hash seeded with the rollout, so that nobody picks the canaries and a restart draws
 * the same. Strata are interleaved by relative rank, so that every prefix holds each in proportion (stratified systematic sampling).
 */
export function assignCohorts(rolloutId: RolloutId, devices: readonly Candidate[]): Assignment[] {
  const drawn = devices
    .map((device) => ({ deviceId: device.id, stratum: stratumOf(device), draw: drawOf(rolloutId, device.id) }))
    .sort((left, right) => byText(left.draw, right.draw));
  const sizes = new Map<string, number>();
  const ranked = drawn.map((device) => {
    const rank = sizes.get(device.stratum) ?? 0;
    sizes.set(device.stratum, rank + 1);
    return { ...device, rank };
  });
  const place = (device: (typeof ranked)[number]) => (device.rank + 0.5) / (sizes.get(device.stratum) ?? 1);
  return ranked
    .sort((left, right) => place(left) - place(right) || byText(left.draw, right.draw))
    .map(({ deviceId, stratum }, position) => ({ deviceId, position, stratum }));
}

/** Cumulative numbers of devices. A stage never shrinks below the one before it, and the first has at least one device. */
export function stageSizes(stages: readonly Stage[], total: number): number[] {
  let reached = 0;
  return stages.map(({ share, devices }) => {
    const wanted = share === undefined ? (devices ?? 0) : Math.ceil(share * total - 1e-9);
    reached = Math.min(total, Math.max(reached, wanted, 1));
    return reached;
  });
}

/**
 * Gives each updated device controls of its own stratum, each control to one device only while there are enough, so that differences are
 * independent. Where the stratum is used up, any device that is not updated yet serves; where there is none at all, the match is empty.
 */
export function matchControls(
  updated: readonly Pick<Assignment, 'deviceId' | 'stratum'>[],
  waiting: readonly Pick<Assignment, 'deviceId' | 'stratum'>[],
): Match[] {
  return updated.map(({ deviceId, stratum }) => {
    const inStratum = waiting.filter((control) => control.stratum === stratum);
    const pool = inStratum.length > 0 ? inStratum : waiting;
    const rivals = inStratum.length > 0 ? updated.filter((other) => other.stratum === stratum) : updated;
    const own = rivals.findIndex((rival) => rival.deviceId === deviceId);
    const dealt = pool.filter((_, index) => index % rivals.length === own);
    const shared = pool[own % Math.max(1, pool.length)];
    const controls = dealt.length > 0 ? dealt.slice(0, MAX_CONTROLS) : shared ? [shared] : [];
    return {
      device: deviceId,
      controls: controls.map((control) => control.deviceId),
      sameStratum: inStratum.length > 0,
    };
  });
}
