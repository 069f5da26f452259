import type { HttpFetch } from '../link/index.js';
import { createSourceChain, openMirror, type MirrorStatus, type Origin } from '../sources/index.js';
import type { AgentConfig } from '../config/index.js';
import type { Clock } from '../host/index.js';
import type { ReleaseSource } from '../update/index.js';

export interface ReleaseSourcesOptions {
  readonly config: Pick<AgentConfig, 'mirrors' | 'download'>;
  readonly controlPlane: ReleaseSource;
  /** What people brought here on a stick. */
  readonly bundles: () => readonly Origin[];
  readonly fetch: HttpFetch;
  readonly clock: Clock;
  /** A mirror was passed over, for a reason that is new. */
  readonly onProblem: (error: unknown) => void;
}

export interface ReleaseSources {
  readonly source: ReleaseSource;
  /** In the order in which they are asked. */
  mirrors(): MirrorStatus[];
}

/** Where this device gets releases: what was imported, then the mirrors of its site, then the control plane. */
export function createReleaseSources(options: ReleaseSourcesOptions): ReleaseSources {
  const { config, controlPlane, bundles, clock } = options;
  const served = new Map<string, number>();
  const mirrors = config.mirrors.map((url) =>
    openMirror({
      url: url.replace(/\/+$/, ''),
      minBytesPerSecond: config.download.mirrorMinBytesPerSecond,
      fetch: options.fetch,
      clock,
      onFailed: options.onProblem,
    }),
  );
  return {
    source: createSourceChain({
      controlPlane,
      origins: () => [...bundles(), ...mirrors],
      // A mirror has seen more since than a stick.
      standIns: () => [...mirrors, ...bundles()],
      onBytes: (origin, bytes) => void served.set(origin, (served.get(origin) ?? 0) + bytes),
    }),
    mirrors: () => mirrors.map((mirror) => mirror.status(served.get(mirror.name) ?? 0)),
  };
}
