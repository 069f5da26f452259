import type { Digest } from '@drover/shared/ids';
import type { ReleaseSource } from '../update/fetch.js';
import type { SourceError } from './errors.js';

/** Somewhere that bytes of releases may come from besides the control plane: a mirror at the site, a bundle on this disk. Never believed. */
export interface Origin {
  /** As an operator reads it. */
  readonly name: string;
  readonly source: ReleaseSource;
  /** Bytes for each second that it is waited for, below which it is passed over; undefined where nothing is waited for. */
  readonly minBytesPerSecond?: number;
  /** Silence that is borne, where it is not the usual time. */
  readonly graceMs?: number | undefined;
  /** Present where its bytes lie on this disk: whether it has the file. */
  readonly holds?: (digest: Digest) => boolean;
  /** False while it rests after a failure. */
  mayBeAsked(): boolean;
  /** It failed, or it lied. Decides how long it rests, and tells the operator. */
  failed(error: SourceError): void;
  succeeded(): void;
}
