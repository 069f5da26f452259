import { RepositoryClient, type TrustedRoot } from '@drover/shared/trust/tuf';

const NOTHING_CACHED = { read: () => undefined, write: () => undefined, remove: () => undefined };

/** The root that a device is given out of band: signed by as many of its own keys as it asks for. @throws TufError TUF_ANCHOR_INVALID */
export const verifyPinnedRoot = (pinnedRoot: Uint8Array): TrustedRoot =>
  new RepositoryClient({ pinnedRoot, cache: NOTHING_CACHED }).root;
