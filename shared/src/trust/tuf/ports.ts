/** Where metadata comes from: the control plane, a proxy at a site, a bundle on a stick. It is not trusted. */
export interface MetadataFetcher {
  /**
   * One file, or `undefined` where the source says that it has none. `name` is a single segment of a path, percent-encoded. It has to stop reading
   * at `maxBytes`, and throws its own error where it cannot tell whether the file exists.
   */
  fetch(
    name: string,
    options: { readonly maxBytes: number; readonly signal: AbortSignal },
  ): Promise<Uint8Array | undefined>;
}

/** What was verified, kept over restarts. Each call is atomic and durable: after a power cut the entry is the old or the new one, whole. */
export interface MetadataCache {
  read(name: string): Uint8Array | undefined;
  write(name: string, bytes: Uint8Array): void;
  remove(name: string): void;
}

/** Bounds that the specification leaves to the application (5.3.3, 5.4.1, 5.5.1, 5.6.1, 5.6.7.1; docs/protocol.md, section 12, step 3). */
export interface TufLimits {
  readonly maxRootRotations: number;
  readonly maxRootBytes: number;
  readonly maxTimestampBytes: number;
  readonly maxSnapshotBytes: number;
  readonly maxTargetsBytes: number;
  /** Delegated roles visited in one search. */
  readonly maxDelegations: number;
}

export const DEFAULT_LIMITS: TufLimits = {
  maxRootRotations: 256,
  maxRootBytes: 128 * 1024,
  maxTimestampBytes: 16 * 1024,
  maxSnapshotBytes: 512 * 1024,
  maxTargetsBytes: 2 * 1024 * 1024,
  maxDelegations: 32,
};
