export {
  isSealed,
  MIN_PASSPHRASE_CHARACTERS,
  openKeyFile,
  parseKeyFile,
  sealKey,
  SealedKey,
  SEALING_COST,
  type KeyFile,
} from './sealed-key.js';
export { parsePublicKeys, PublicKeys, publicKeysOf } from './public-keys.js';
