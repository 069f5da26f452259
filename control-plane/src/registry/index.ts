export { REGISTRY_CODES, RegistryError, releaseWithdrawn } from './errors.js';
export { recordRelease, withdrawRelease, type Published, type StoredFiles } from './publish.js';
export { releases, type ModelSummary, type Release } from './releases.js';
export { registryRoutes } from './routes.js';
export type { ParametersView } from './site-values.js';
