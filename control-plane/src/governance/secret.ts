import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/** 32 random bytes behind a prefix that tells people, and secret scanners, what they found. */
export const newSecret = (prefix: string): string => `${prefix}_${randomBytes(32).toString('base64url')}`;

/** SHA-256 in hex. A slow hash would add nothing: the secrets have 256 bits and cannot be guessed. */
export const hashSecret = (secret: string): string => createHash('sha256').update(secret).digest('hex');

export const matchesHash = (secret: string, hashHex: string): boolean =>
  timingSafeEqual(Buffer.from(hashSecret(secret), 'hex'), Buffer.from(hashHex, 'hex'));
