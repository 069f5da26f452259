export { TRUST_CODES, TrustError } from './errors.js';
export {
  createKeyPair,
  keyIdOf,
  KeyPair,
  keyPairFromSeed,
  KeySet,
  parseKeyPair,
  parseKeySet,
  PublicKey,
  publicKeyOf,
  toSigningKey,
} from './keys.js';
export {
  bulkSigner,
  decodeEnvelope,
  encodeEnvelope,
  Envelope,
  occasionalSigner,
  payloadTypeOf,
  preAuthenticationEncoding,
  signEnvelope,
  verifyEnvelope,
  type Signer,
  type VerifiedPayload,
} from './envelope.js';
