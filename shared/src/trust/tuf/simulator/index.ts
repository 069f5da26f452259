/**
 * A TUF repository for the tests of every workspace. Nothing that is shipped imports it, and a test holds that
 * (shared/test/trust/tuf/simulator.test.ts).
 */
export { MemoryCache, PowerCut } from './memory-cache.js';
export {
  RepositorySimulator,
  toExpiry,
  type DelegationOptions,
  type Draft,
  type SimulatorOptions,
} from './repository.js';
export { createSigner, signerOf, type KeyType } from './signers.js';
