export {
  MAX_USTAR_FILE_BYTES,
  paddingOf,
  parseUstarHeader,
  USTAR_BLOCK_BYTES,
  ustarFileHeader,
  type UstarEntry,
} from './ustar.js';
