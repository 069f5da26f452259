import fc from 'fast-check';
import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { caseOf, judgeCase, type FuzzTarget } from '../../src/fuzzing/index.js';
import { ManifestError } from '../../src/manifest/index.js';
import { targets } from './targets.js';

const lawHolds = async (target: FuzzTarget, bytes: Uint8Array): Promise<void> => {
  const finding = await judgeCase(target, bytes);
  if (finding) throw new Error(`${finding.kind}: ${finding.what}`);
};

describe.each(targets)('when bytes from outside meet the parser of $name', (target) => {
  it('accepts what is valid, so that the changed documents begin close to it', async () => {
    const seeds = target.seeds();
    expect(seeds.length).toBeGreaterThan(0);
    for (const seed of seeds) await target.parse(seed);
  });

  it('returns or throws a coded error, whatever is changed in a valid document', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.nat(1_000), (seed, index) => lawHolds(target, caseOf(target, seed, index))),
      { numRuns: 150 },
    );
  });

  it('returns or throws a coded error for any bytes and any JSON', async () => {
    const json = fc.json({ maxDepth: 8 }).map((text) => Buffer.from(text));
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 2_000 }), json), (bytes) => lawHolds(target, bytes)),
      { numRuns: 100 },
    );
  });
});

/** Functions that read bytes or documents, by their names: what exists of them must be registered. */
const READS = /^(parse|open|decode|scan)[A-Z]|OfTopic$|^[A-Z][A-Za-z]*Id$|^(ModelName|Version|Digest)$/;
/** What every parser is made of, and throws what its caller says. */
const NO_PARSERS = new Set(['parseJsonBytes']);

describe('the table of parsers', () => {
  it('names every function of this workspace that reads bytes from outside', async () => {
    const covered = new Set(targets.flatMap(({ covers }) => covers));
    const missing: string[] = [];
    for (const folder of readdirSync(new URL('../../src', import.meta.url))) {
      const api = (await import(`../../src/${folder}/index.ts`)) as Record<string, unknown>;
      for (const [name, value] of Object.entries(api)) {
        if (typeof value === 'function' && READS.test(name) && !covered.has(name) && !NO_PARSERS.has(name))
          missing.push(`${folder}: ${name}`);
      }
    }
    expect(missing).toEqual([]);
  });
});

describe('the law', () => {
  const broken = (parse: FuzzTarget['parse']): FuzzTarget => ({
    name: 'broken',
    covers: [],
    format: 'json',
    seeds: () => [Buffer.from('{"a":[1,"x"]}')],
    parse,
  });

  it('lets a value and a coded error pass', async () => {
    expect(
      await judgeCase(
        broken(() => 1),
        new Uint8Array(),
      ),
    ).toBeUndefined();
    const refusing = broken(() => {
      throw new ManifestError('MANIFEST_INVALID', 'no', { remedy: 'none' });
    });
    expect(await judgeCase(refusing, new Uint8Array())).toBeUndefined();
  });

  it('finds another error, a rejected promise, a polluted prototype and a parser that takes too long', async () => {
    const throwing = broken(() => {
      throw new TypeError('undefined is not an object');
    });
    expect(await judgeCase(throwing, new Uint8Array())).toMatchObject({ kind: 'crash' });
    const rejecting = broken(() => Promise.reject(new RangeError('stack')));
    expect(await judgeCase(rejecting, new Uint8Array())).toMatchObject({ kind: 'crash' });
    const polluting = broken(() => Object.assign(Object.prototype, { polluted: 1 }));
    expect(await judgeCase(polluting, new Uint8Array())).toMatchObject({ kind: 'crash' });
    expect(Object.keys(Object.prototype)).toEqual([]);
    const slow = broken(() => {
      const until = performance.now() + 50;
      while (performance.now() < until);
    });
    expect(await judgeCase(slow, new Uint8Array(), { maxCpuMs: 5 })).toMatchObject({ kind: 'hang' });
  });

  it('makes the same documents again, and many different ones', () => {
    const target = broken(JSON.stringify);
    const documents = Array.from({ length: 300 }, (_, index) => Buffer.from(caseOf(target, 1, index)).toString('hex'));
    expect(documents).toEqual(
      Array.from({ length: 300 }, (_, index) => Buffer.from(caseOf(target, 1, index)).toString('hex')),
    );
    expect(new Set(documents).size).toBeGreaterThan(200);
    const texts = documents.map((hex) => Buffer.from(hex, 'hex').toString('utf8'));
    for (const part of ['"__proto__":', '1e400', '[[[[[[[[[[', '"a":[1,"x"],"a":']) {
      expect(
        texts.some((text) => text.includes(part)),
        part,
      ).toBe(true);
    }
  });
});
