import type { X509Certificate } from 'node:crypto';
import type { DeviceId } from '@drover/shared/ids';

/** Whom a client certificate stands for, or why it stands for nobody. */
export type CertificateHolder =
  | { readonly kind: 'device'; readonly id: DeviceId }
  | { readonly kind: 'account'; readonly name: string }
  | { readonly kind: 'refused'; readonly why: string };

/** Who knows devices, their certificates and their credentials. */
export interface DeviceAccess {
  authenticate(id: string, credential: string): Promise<{ id: DeviceId } | undefined>;
  holderOf(certificate: X509Certificate): Promise<CertificateHolder>;
  touch(id: DeviceId, seen: { connected?: boolean; lastSeenAt: number }): Promise<void>;
}

/** Resolves when the report is safe; a rejection keeps the broker from acknowledging it. */
export type ReportHandler = (topic: string, payload: Uint8Array) => Promise<void>;

export interface BrokerMetrics {
  readonly connections: number;
  readonly refusals: Readonly<Record<string, number>>;
}

export interface BrokerPort {
  readonly url: string;
  /**
   * QoS 1, not retained. Resolves when it is on its way, not when it is acknowledged: a report's handler that waited for that would wait for what
   * comes behind the report on the same connection. What is lost on the way is sent when its device next subscribes or states what it runs.
   */
  publish(topic: string, payload: Uint8Array): Promise<void>;
  /** One handler; set it before devices connect, because reports without one are not acknowledged. What it rejects comes again. */
  onReports(handler: ReportHandler): void;
  /** Cuts the connections of this device, or of every device, so that they have to prove themselves anew. */
  disconnect(device: DeviceId | 'all'): void;
  collect(): BrokerMetrics;
  close(): Promise<void>;
}
