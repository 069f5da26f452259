export { paddingOf, parseUstarHeader, USTAR_BLOCK_BYTES, type UstarEntry } from './ustar.js';
