export { SOURCE_CODES, SourceError, type SourceCode } from './errors.js';
export { openMirror, type Mirror, type MirrorOptions, type MirrorStatus } from './mirrors.js';
export type { Origin } from './origin.js';
export { createSourceChain, type SourceChainOptions } from './source-chain.js';
