// The library resolves its parts by decorators, and throws at its import where this has not been loaded before.
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

x509.cryptoProvider.set(webcrypto);

/** P-256: every TLS stack has it, and WebCrypto has it without warnings on all versions of Node.js that we support. */
export const CURVE = { name: 'ECDSA', namedCurve: 'P-256' } as const;
export const SIGNATURE = { name: 'ECDSA', hash: 'SHA-256' } as const;

export { webcrypto, x509 };
