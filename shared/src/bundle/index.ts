export {
  blobEntry,
  BUNDLE_FORMAT,
  BundleContents,
  CONTENTS_NAME,
  MAX_DOCUMENT_BYTES,
  MAX_ENTRIES,
  metadataEntry,
  orderEntry,
  parseContents,
  RECOVERY_ENTRY,
  type BundleEntry,
} from './contents.js';
export { BUNDLE_CODES, BundleError, damaged } from './errors.js';
export {
  encodeContents,
  framing,
  packBundle,
  readLayout,
  type BundleBytes,
  type BundleLayout,
  type PlacedEntry,
} from './layout.js';
