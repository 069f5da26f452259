export { PACK_CODES, PackError } from './errors.js';
export { openPacks, type PackOptions, type Packs } from './packs.js';
export { packRoutes } from './routes.js';
