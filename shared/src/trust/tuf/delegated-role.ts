import { verifyListed } from './checks.js';
import type { DelegatedRole, Delegations, MetaFile, Targets } from './documents.js';
import { TufError } from './errors.js';
import { metadataFileName } from './names.js';
import type { MetadataCache } from './ports.js';

/** A delegated role as one delegator sees it: its keys and threshold are this delegator's, and nobody else's. */
export interface Delegation {
  readonly role: DelegatedRole;
  readonly keys: Delegations['keys'];
  readonly delegator: string;
}

export const cacheNameOf = ({ role }: Delegation): string => metadataFileName(role.name) ?? '';

interface RoleCheck {
  readonly delegation: Delegation;
  /** What the trusted snapshot says about the role. */
  readonly meta: MetaFile;
  readonly maxBytes: number;
}

/** Sections 5.6.2 to 5.6.4. Expiry is the caller's to judge. */
export const verifyRole = (bytes: Uint8Array, { delegation, meta, maxBytes }: RoleCheck): Targets =>
  verifyListed({
    kind: 'targets',
    bytes,
    meta,
    listedIn: 'snapshot.json',
    role: delegation.role,
    keys: delegation.keys,
    delegator: `role ${JSON.stringify(delegation.delegator)}`,
    where: cacheNameOf(delegation),
    maxBytes,
    sections: { hash: '5.6.2', signature: '5.6.3', version: '5.6.4' },
  }).signed;

/**
 * A cached role has no authority of its own: it is verified against the delegator that leads to it *now*. The error that is returned says why it cannot
 * be used.
 */
export function readCachedRole(cache: MetadataCache, check: RoleCheck): Targets | TufError {
  const where = cacheNameOf(check.delegation);
  const refuse = (cause?: unknown) =>
    new TufError('TUF_NOT_CACHED', `The cache has no usable ${where}.`, { section: '5.6.7', where, cause });
  const bytes = cache.read(where);
  if (bytes === undefined) return refuse();
  try {
    return verifyRole(bytes, check);
  } catch (cause) {
    if (cause instanceof TufError) return refuse(cause);
    throw cause;
  }
}
