export { BLOB_CODES, BlobError } from './errors.js';
export { parseRange } from './range.js';
export { openBlobDirectory, type BlobStore, type ByteRange } from './store.js';
export { blobRoutes } from './routes.js';
export { sendRange } from './send-range.js';
