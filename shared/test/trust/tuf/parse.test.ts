import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseMetadata, signMetadata, TufError, type MetadataKind } from '../../../src/trust/tuf/index.js';
import { createSigner, RepositorySimulator } from '../../../src/trust/tuf/simulator/index.js';
import { nowMs } from './fixture.js';

const KINDS: readonly MetadataKind[] = ['root', 'timestamp', 'snapshot', 'targets'];
const MAX_BYTES = 2 * 1024 * 1024;

const parse = (kind: MetadataKind, bytes: Uint8Array, maxBytes = MAX_BYTES) =>
  parseMetadata(kind, bytes, { where: `${kind}.json`, maxBytes });

function refusalOf(kind: MetadataKind, bytes: Uint8Array): TufError | undefined {
  try {
    parse(kind, bytes);
    return undefined;
  } catch (error) {
    if (error instanceof TufError) return error;
    throw error;
  }
}

/** One true file of each kind, with a delegation and a target, as text. */
const repository = new RepositorySimulator({ nowMs, listHashes: true });
repository.delegate({ name: 'gas', paths: ['gas/*'], terminating: true });
repository.addTarget('targets', 'gas/1.0.0.json', Buffer.from('release'));
repository.publish('gas', 'targets', 'snapshot', 'timestamp');
const TEXTS: Readonly<Record<MetadataKind, string>> = {
  root: Buffer.from(repository.files.get('1.root.json') ?? []).toString(),
  timestamp: Buffer.from(repository.files.get('timestamp.json') ?? []).toString(),
  snapshot: Buffer.from(repository.files.get('2.snapshot.json') ?? []).toString(),
  targets: Buffer.from(repository.files.get('2.targets.json') ?? []).toString(),
};
const changed = (kind: MetadataKind, change: (text: string) => string): Buffer => {
  const text = change(TEXTS[kind]);
  if (text === TEXTS[kind]) throw new Error('The change found nothing to change.');
  return Buffer.from(text);
};
const first = (pattern: RegExp, by: string) => (text: string) => text.replace(pattern, by);

describe('metadata that does not have its form is refused (section 4)', () => {
  it('takes the true ones, which the cases below change in one place', () => {
    for (const kind of KINDS) expect(parse(kind, Buffer.from(TEXTS[kind])).signed._type).toBe(kind);
  });

  it.each<[string, MetadataKind, (text: string) => string, string]>([
    ['no JSON', 'root', (text) => text.slice(1), '4.1'],
    ['something behind the JSON', 'root', (text) => `${text}x`, '4.1'],
    ['a byte order mark', 'root', (text) => `\ufeff${text}`, '4.1'],
    ['a list', 'root', () => '[]', '4.2.1'],
    ['null', 'root', () => 'null', '4.2.1'],
    ['no signatures', 'root', first(/"signatures":\[.*?\],/, ''), '4.2.1'],
    ['signatures that are no list', 'root', first(/"signatures":\[.*?\],/, '"signatures":{},'), '4.2.1'],
    ['a signature that is no text', 'root', first(/"sig":"\w+"/, '"sig":7'), '4.2.1'],
    ['two signatures by one key', 'root', first(/\[(\{"keyid".*?\})\]/, '[$1,$1]'), '4.2.1'],
    ['another type', 'root', first(/"_type":"root"/, '"_type":"targets"'), '4.2.1'],
    ['no type', 'root', first(/"_type":"root",/, ''), '4.2.1'],
    ['version 2 of the specification', 'root', first(/"1\.0\.34"/, '"2.0.0"'), '4'],
    ['a specification that is no version', 'root', first(/"1\.0\.34"/, '"1.x"'), '4'],
    ['version 0', 'timestamp', first(/"version":2/, '"version":0'), '4'],
    ['a negative version', 'timestamp', first(/"version":2/, '"version":-2'), '4'],
    ['a version in quotes', 'timestamp', first(/"version":2/, '"version":"2"'), '4'],
    ['a version that is no integer', 'timestamp', first(/"version":2/, '"version":2.5'), '4.1'],
    ['a version that no double holds exactly', 'timestamp', first(/"version":2/, '"version":9007199254740993'), '4.1'],
    [
      'a fraction in an attribute that nobody knows',
      'timestamp',
      first(/"version":2/, '"x":[{"y":0.1}],"version":2'),
      '4.1',
    ],
    ['no expiry', 'timestamp', first(/"expires":"[^"]+",/, ''), '4'],
    ['an expiry that is no time', 'timestamp', first(/"expires":"[^"]+"/, '"expires":"never"'), '4'],
    ['an expiry with a zone', 'timestamp', first(/Z"/, '+02:00"'), '4'],
    ['an expiry on February 31', 'timestamp', first(/"expires":"[^"]+"/, '"expires":"2031-02-31T00:00:00Z"'), '4.2.3'],
    ['an expiry at 25 o’clock', 'timestamp', first(/"expires":"[^"]+"/, '"expires":"2031-02-03T25:00:00Z"'), '4.2.3'],
    ['no snapshot', 'timestamp', first(/snapshot\.json/, 'other.json'), '4'],
    ['a negative length', 'timestamp', first(/"length":\d+/, '"length":-1'), '4'],
    ['a hash that is no text', 'timestamp', first(/"sha256":"\w+"/, '"sha256":1'), '4'],
    [
      'an entry of the snapshot without version',
      'snapshot',
      first(/"targets\.json":\{"version":\d+,/, '"targets.json":{'),
      '4',
    ],
    [
      'an entry under a name with a line break',
      'snapshot',
      first(/"targets\.json":\{"version":\d+,/, '"a\\nb":{'),
      '4',
    ],
    ['a target without hashes', 'targets', first(/"hashes":\{"sha256":"\w+"\}/, '"hashes":{}'), '4'],
    ['a target without length', 'targets', first(/"length":\d+,/, ''), '4'],
    ['a root without a top-level role', 'root', first(/"snapshot":\{"keyids"/, '"snapshot2":{"keyids"'), '4'],
    ['a threshold of 0', 'root', first(/"threshold":1/, '"threshold":0'), '4'],
    ['a key id twice in a role', 'root', first(/"keyids":\[("\w+")\]/, '"keyids":[$1,$1]'), '4.3'],
    ['consistent_snapshot in quotes', 'root', first(/"consistent_snapshot":true/, '"consistent_snapshot":"true"'), '4'],
    ['a key whose id is not its hash', 'root', first(/"public":"../, '"public":"00'), '4.3'],
    ['a delegation’s key whose id is not its hash', 'targets', first(/"public":"../, '"public":"00'), '4.5'],
    ['a delegation to a top-level role', 'targets', first(/"name":"gas"/, '"name":"timestamp"'), '4.5'],
    ['a delegation without a name', 'targets', first(/"name":"gas"/, '"name":""'), '4'],
    ['a delegation whose name is no Unicode', 'targets', first(/"name":"gas"/, '"name":"\\ud800"'), '4.5'],
    [
      'a delegation whose name fits no file system',
      'targets',
      first(/"name":"gas"/, `"name":"${'ä'.repeat(100)}"`),
      '4.5',
    ],
    [
      'a delegation with paths and prefixes',
      'targets',
      first(/"paths":/, '"path_hash_prefixes":["a"],"paths":'),
      '4.5',
    ],
    ['a prefix that is not hexadecimal', 'targets', first(/"paths":\[[^\]]*\]/, '"path_hash_prefixes":["X"]'), '4'],
    ['a delegation that does not say whether it terminates', 'targets', first(/"terminating":true,/, ''), '4'],
    ['one role delegated to twice', 'targets', first(/"roles":\[(\{.*?\})\]/, '"roles":[$1,$1]'), '4.5'],
  ])('%s', (_, kind, change, section) => {
    expect(refusalOf(kind, changed(kind, change))).toMatchObject({ code: 'TUF_MALFORMED', section });
  });

  it('bytes that are no UTF-8', () => {
    const bytes = Buffer.from(TEXTS.root);
    bytes[bytes.indexOf('"public"') + 12] = 0xff;
    expect(refusalOf('root', bytes)).toMatchObject({ code: 'TUF_MALFORMED', section: '4.1' });
  });

  it('more bytes than allowed, before they are looked at', () => {
    expect(() => parse('root', Buffer.from(TEXTS.root), 100)).toThrow(
      expect.objectContaining({ code: 'TUF_TOO_LARGE' }),
    );
  });

  it('says what is wrong, where, and keeps the cause', () => {
    const refusal = refusalOf('targets', changed('targets', first(/"threshold":1/, '"threshold":"x"')));
    expect(refusal?.message).toContain('/delegations/roles/0/threshold must be integer');
    expect(refusal).toMatchObject({ where: 'targets.json', fault: 'peer' });
    expect(refusalOf('root', Buffer.from('{'))?.cause).toBeInstanceOf(SyntaxError);
  });
});

/** The time that a file of the largest size may take, whatever is in it. Generous: machines that test are busy. */
const PATIENCE_MS = 10_000;
function timed(work: () => void): void {
  const started = performance.now();
  work();
  expect(performance.now() - started).toBeLessThan(PATIENCE_MS);
}

describe('the largest files that are read', () => {
  it.each([
    ['open brackets', '['.repeat(MAX_BYTES)],
    ['open braces', '{"a":'.repeat(MAX_BYTES / 5)],
    ['one open string', `"${'\\"'.repeat(MAX_BYTES / 2 - 1)}`],
    ['zeros', '\0'.repeat(MAX_BYTES)],
  ])('%s are refused in bounded time', (_, text) => {
    timed(() => {
      for (const kind of KINDS) expect(refusalOf(kind, Buffer.from(text))).toMatchObject({ code: 'TUF_MALFORMED' });
    });
  });

  const many = (entries: number, entryOf: (at: number) => string) =>
    Array.from({ length: entries }, (_, at) => entryOf(at)).join(',');

  it('a snapshot of 50,000 roles is read in time that grows with its size', () => {
    const text = TEXTS.snapshot.replace('"meta":{', `"meta":{${many(50_000, (at) => `"r${at}.json":{"version":1}`)},`);
    timed(() => expect(refusalOf('snapshot', Buffer.from(text))).toBeUndefined());
  });

  it('and so are 10,000 delegations and targets, right or wrong', () => {
    const role = /"roles":\[(\{.*?\})\]/.exec(TEXTS.targets)?.[1] ?? '';
    const delegations = many(5000, (at) => role.replace('"name":"gas"', `"name":"r${at}"`));
    const targets = many(5000, (at) => `"t/${at}":{"length":1,"hashes":{"sha256":"${'0'.repeat(64)}"}}`);
    const text = TEXTS.targets
      .replace(/"roles":\[.*?\}\]/, `"roles":[${delegations}]`)
      .replace('"targets":{', `"targets":{${targets},`);
    timed(() => expect(refusalOf('targets', Buffer.from(text))).toBeUndefined());
    const wrong = text.replaceAll('"length":1,', '"length":-1,').replaceAll('"threshold":1', '"threshold":0');
    timed(() => expect(refusalOf('targets', Buffer.from(wrong))).toMatchObject({ code: 'TUF_MALFORMED' }));
  });
});

describe('anything else', () => {
  it('ends in metadata or in a TufError, never otherwise', () => {
    fc.assert(
      fc.property(fc.constantFrom(...KINDS), fc.uint8Array({ maxLength: 300 }), (kind, bytes) => {
        expect(refusalOf(kind, bytes)).toBeInstanceOf(TufError);
      }),
      { numRuns: 300 },
    );
    fc.assert(
      fc.property(fc.constantFrom(...KINDS), fc.json({ maxDepth: 6 }), (kind, text) => {
        expect(refusalOf(kind, Buffer.from(text))).toBeInstanceOf(TufError);
      }),
      { numRuns: 300 },
    );
  });

  it('so do true files with bytes changed, cut out and put in', () => {
    const edit = fc.record({
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      cut: fc.nat({ max: 20 }),
      put: fc.string(),
    });
    fc.assert(
      fc.property(fc.constantFrom(...KINDS), fc.array(edit, { minLength: 1, maxLength: 4 }), (kind, edits) => {
        let text = TEXTS[kind];
        for (const { at, cut, put } of edits) {
          const from = Math.floor(at * text.length);
          text = text.slice(0, from) + put + text.slice(from + cut);
        }
        const refusal = refusalOf(kind, Buffer.from(text));
        if (refusal) expect(['TUF_MALFORMED', 'TUF_TOO_LARGE']).toContain(refusal.code);
      }),
      { numRuns: 600 },
    );
  });

  it('and true files with a value replaced by any other', () => {
    const paths = (value: unknown, at: readonly string[] = []): (readonly string[])[] =>
      typeof value === 'object' && value !== null
        ? [at, ...Object.entries(value).flatMap(([key, entry]) => paths(entry, [...at, key]))]
        : [at];
    fc.assert(
      fc.property(fc.constantFrom(...KINDS), fc.nat(), fc.jsonValue({ maxDepth: 3 }), (kind, pick, value) => {
        const document = JSON.parse(TEXTS[kind]) as Record<string, unknown>;
        const all = paths(document).filter((path) => path.length > 0);
        const path = all[pick % all.length] ?? [];
        let place = document;
        for (const key of path.slice(0, -1)) place = place[key] as Record<string, unknown>;
        place[path.at(-1) ?? ''] = value;
        const refusal = refusalOf(kind, Buffer.from(JSON.stringify(document)));
        if (refusal) expect(refusal.code).toBe('TUF_MALFORMED');
      }),
      { numRuns: 600 },
    );
  });

  it('reads back what it writes', () => {
    const signer = createSigner();
    const bytes = signMetadata(repository.snapshot, [signer]);
    expect(parse('snapshot', bytes).signed).toEqual(repository.snapshot);
  });
});
