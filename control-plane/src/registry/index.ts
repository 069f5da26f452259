export { REGISTRY_CODES, RegistryError } from './errors.js';
export { publish, type Published, type StoredFiles } from './publish.js';
export { publisherKeys } from './publisher-keys.js';
export { releases, type ModelSummary, type Release } from './releases.js';
export { registryRoutes } from './routes.js';
