import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CodedError } from '../../../src/coded-error/index.js';
import { createKeyPair } from '../../../src/trust/index.js';
import {
  isSealed,
  openKeyFile,
  parseKeyFile,
  parsePublicKeys,
  publicKeysOf,
  sealKey,
  SEALING_COST,
  type SealedKey,
} from '../../../src/trust/key-file/index.js';

const PASSPHRASE = 'correct horse battery staple';
/** The cheapest that a file may ask for: what is tested here is not how long it takes. */
const CHEAP = { cost: 2 ** 14, blockSize: 1, parallelization: 1 };
const codeOf = async (act: () => unknown): Promise<string> => {
  try {
    await act();
  } catch (error) {
    if (error instanceof CodedError) return String(error.code);
    throw error;
  }
  return 'accepted';
};

describe('when a key is sealed', () => {
  const pair = createKeyPair('Zoë');

  it('opens with the passphrase alone, at the cost that stands in the file', async () => {
    const sealed = await sealKey(pair, PASSPHRASE);
    expect(sealed.sealed).toMatchObject({ kdf: 'scrypt', ...SEALING_COST, cipher: 'aes-256-gcm' });
    const read = parseKeyFile(JSON.parse(JSON.stringify(sealed)));
    if (!isSealed(read)) throw new Error('it is not sealed');
    expect(JSON.stringify(sealed)).not.toContain(pair.seed);
    expect(await openKeyFile(read, PASSPHRASE)).toEqual(pair);
    expect(await codeOf(() => openKeyFile(read, `${PASSPHRASE}r`))).toBe('KEY_PASSPHRASE_WRONG');
  });

  it('takes the same words from another keyboard, and refuses short ones', async () => {
    const sealed = await sealKey(pair, 'Stra\u00dfe nach Z\u00fcrich', CHEAP);
    expect((await openKeyFile(sealed, 'Stra\u00dfe nach Zu\u0308rich')).seed).toBe(pair.seed);
    expect(await codeOf(() => sealKey(pair, 'too short', CHEAP))).toBe('KEY_PASSPHRASE_WEAK');
  });

  it('never makes the same file twice', async () => {
    const [one, two] = [await sealKey(pair, PASSPHRASE, CHEAP), await sealKey(pair, PASSPHRASE, CHEAP)];
    expect(one.sealed.salt).not.toBe(two.sealed.salt);
    expect(one.sealed.nonce).not.toBe(two.sealed.nonce);
    expect(one.sealed.box).not.toBe(two.sealed.box);
  });
});

describe('when a sealed key was changed', () => {
  it('opens after no change of any hexadecimal digit, nor of the name', async () => {
    const sealed = await sealKey(createKeyPair('Alice'), PASSPHRASE, CHEAP);
    expect(await codeOf(() => openKeyFile({ ...sealed, name: 'Bob' }, PASSPHRASE))).toBe('KEY_PASSPHRASE_WRONG');
    await fc.assert(
      fc.asyncProperty(fc.constantFrom('salt', 'nonce', 'box'), fc.nat(23), async (field, at) => {
        const text = sealed.sealed[field];
        const digit = text[at] === '0' ? '1' : '0';
        const changed = { ...sealed.sealed, [field]: text.slice(0, at) + digit + text.slice(at + 1) };
        expect(await codeOf(() => openKeyFile({ ...sealed, sealed: changed }, PASSPHRASE))).toBe(
          'KEY_PASSPHRASE_WRONG',
        );
      }),
      { numRuns: 25 },
    );
  });

  it.each<[string, (file: SealedKey) => unknown]>([
    ['another cost than a power of two', (file) => ({ ...file, sealed: { ...file.sealed, cost: 2 ** 15 + 1 } })],
    [
      'more memory than a machine has',
      (file) => ({ ...file, sealed: { ...file.sealed, cost: 2 ** 20, blockSize: 32 } }),
    ],
    ['a cost beyond the bound', (file) => ({ ...file, sealed: { ...file.sealed, cost: 2 ** 40 } })],
    ['next to no cost', (file) => ({ ...file, sealed: { ...file.sealed, cost: 2 } })],
    ['another function', (file) => ({ ...file, sealed: { ...file.sealed, kdf: 'md5' } })],
    ['a public key that is not its own', (file) => ({ ...file, publicKey: createKeyPair().publicKey })],
    ['more than is known', (file) => ({ ...file, surprise: 1 })],
  ])('refuses %s before anything is computed', async (_, change) => {
    const sealed = await sealKey(createKeyPair(), PASSPHRASE, CHEAP);
    expect(await codeOf(() => parseKeyFile(change(sealed)))).toBe('KEY_MALFORMED');
  });
});

describe('when public halves are handed over', () => {
  it('come from sealed files and open ones alike, with the names and without any secret', async () => {
    const pair = createKeyPair('Alice');
    const sealed = await sealKey(createKeyPair('Bob'), PASSPHRASE, CHEAP);
    const set = publicKeysOf([pair, sealed]);
    expect(parsePublicKeys(JSON.parse(JSON.stringify(set)))).toEqual(set);
    expect(set.keys.map(({ name }) => name)).toEqual(['Alice', 'Bob']);
    expect(JSON.stringify(set)).not.toContain(pair.seed);
    const [first] = set.keys;
    const foreign = { ...set, keys: [{ ...first, publicKey: createKeyPair().publicKey }] };
    expect(await codeOf(() => parsePublicKeys(foreign))).toBe('KEY_MALFORMED');
  });
});
