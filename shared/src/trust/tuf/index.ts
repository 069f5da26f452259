export { RepositoryClient, type CachedTarget, type RefreshOptions, type TrustedRoot } from './client.js';
export type {
  DelegatedRole,
  Delegations,
  MetadataFile,
  MetadataKind,
  MetadataSignature,
  MetaFile,
  RoleKeys,
  Root,
  Snapshot,
  TargetEntry,
  Targets,
  Timestamp,
  TufKey,
} from './documents.js';
export { TUF_CODES, TufError, type TufCode } from './errors.js';
export { keyFingerprint, toKeySet, toTufKey, tufKeyId } from './keys.js';
export { listedName, metadataFileName, rootFileName, servedFileName } from './names.js';
export { expiresAtMs, parseMetadata } from './parse.js';
export { isDelegatedPath, matchesPathPattern } from './path-pattern.js';
export { DEFAULT_LIMITS, type MetadataCache, type MetadataFetcher, type TufLimits } from './ports.js';
export { encodeMetadata, signatureOf, signMetadata, tufSigner, verifyThreshold, type TufSigner } from './signatures.js';
export type { RepositoryStatus, RoleStatus } from './status.js';
export { verifyTargetBytes, type TargetFile } from './target-file.js';
