import { createHash, timingSafeEqual } from 'node:crypto';
import type { DeviceId } from '@drover/shared/ids';
import { ordersTopic, reportsTopic } from '@drover/shared/protocol';

/** Who holds an MQTT connection: a device, or the account for replicas and external tools. */
export type Peer = { readonly kind: 'device'; readonly id: DeviceId } | { readonly kind: 'service' };

/** User name of the service account; no device can have it taken away, because a device logs in with its own credential only. */
export const SERVICE_USER = 'service';

/** docs/protocol.md, section 1: a device writes to its own reports, and nowhere else. */
export const mayPublish = (peer: Peer, topic: string): boolean =>
  peer.kind === 'service' ? !topic.startsWith('$') : topic === reportsTopic(peer.id);

/** A device reads its own orders, by the exact topic: no wildcards. */
export const maySubscribe = (peer: Peer, filter: string): boolean =>
  peer.kind === 'service' || filter === ordersTopic(peer.id);

/** Compares hashes, whose lengths are equal: neither content nor length of the password shows in the time. */
export function isSamePassword(given: Uint8Array, expected: string): boolean {
  const hash = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest();
  return timingSafeEqual(hash(given), hash(expected));
}
