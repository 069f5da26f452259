import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DeviceId, Digest, digestHex, digestOf, IdError, ModelName, Version } from '../../src/ids/index.js';

describe('when a name is parsed', () => {
  it('accepts what fits into a topic, a URL and a file name', () => {
    for (const name of ['a', 'cam-01', 'gas_classifier', '0', 'a'.repeat(64)]) expect(DeviceId(name)).toBe(name);
  });

  it('refuses what could leave its folder or its topic', () => {
    for (const name of ['', '..', 'a/b', 'a+b', '#', 'A', '-a', 'a-', 'a'.repeat(65), 'a\n', 'é']) {
      expect(() => ModelName(name)).toThrow(IdError);
    }
  });

  it('never lets an MQTT wildcard or separator through, whatever the text', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        let name: string;
        try {
          name = DeviceId(text);
        } catch (error) {
          expect(error).toBeInstanceOf(IdError);
          return;
        }
        expect(name).toMatch(/^[a-z0-9_-]+$/);
      }),
    );
  });
});

describe('when a version is parsed', () => {
  it('accepts semantic versions only, in their canonical form', () => {
    expect(Version('1.2.0-rc.1')).toBe('1.2.0-rc.1');
    // Build metadata has no precedence (semver.org, item 10): two such versions could not be ordered.
    for (const text of ['1.2.0+build.5', 'v1.2.0', '1.2', '1.2.0.0', ' 1.2.0', '01.2.0', ''])
      expect(() => Version(text)).toThrow(IdError);
  });
});

describe('when bytes are named', () => {
  it('gives the digest of FIPS 180-2, appendix B.1', () => {
    expect(digestOf(Buffer.from('abc'))).toBe(
      'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    );
    expect(digestHex(digestOf(Buffer.from('abc')))).toHaveLength(64);
  });

  it('refuses another algorithm, upper case and a wrong length', () => {
    const hex = 'a'.repeat(64);
    for (const text of [`md5:${hex}`, `sha256:${hex.toUpperCase()}`, `sha256:${hex}0`, hex])
      expect(() => Digest(text)).toThrow(IdError);
  });
});
