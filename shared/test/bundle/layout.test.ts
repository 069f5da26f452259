import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { paddingOf, ustarFileHeader } from '../../src/archive/index.js';
import { BundleError, readLayout } from '../../src/bundle/index.js';
import { bundle, contentsOf, FILES, inMemory, type Files } from './bundles.js';

const layout = (content: Uint8Array) => readLayout(inMemory(content));

describe('when a bundle is whole', () => {
  it('says where everything lies', async () => {
    const content = bundle();
    const { contents, entries } = await layout(content);
    expect(contents).toEqual(contentsOf(FILES));
    expect([...entries.keys()]).toEqual(FILES.map(([name]) => name));
    for (const [name, file] of FILES) {
      const { offset = 0, bytes = 0 } = entries.get(name) ?? {};
      expect(content.subarray(offset, offset + bytes).equals(file)).toBe(true);
    }
  });

  it('is an archive that tar itself can read', () => {
    const listed = execFileSync('tar', ['-tf', '-'], { input: bundle(), encoding: 'utf8' });
    expect(listed.trim().split('\n')).toEqual(['bundle.json', ...FILES.map(([name]) => name)]);
  });

  it('holds its files whatever their sizes are', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 1500 }), { minLength: 1, maxLength: 5 }), async (sizes) => {
        const files: Files = sizes.map((content, index) => [`metadata/${index + 1}.root.json`, content]);
        const content = bundle(files);
        const { entries } = await layout(content);
        for (const [name, file] of files) {
          const { offset = 0, bytes = 0 } = entries.get(name) ?? {};
          expect(Buffer.compare(content.subarray(offset, offset + bytes), file)).toBe(0);
        }
        expect(paddingOf(content.length)).toBe(0);
      }),
      { numRuns: 30 },
    );
  });
});

describe('when a bundle is not whole', () => {
  it('is refused wherever it was cut off', async () => {
    const content = bundle();
    for (let bytes = 0; bytes < content.length; bytes += 128)
      await expect(layout(content.subarray(0, bytes))).rejects.toMatchObject({ code: 'BUNDLE_TRUNCATED' });
  });
});

const [first = ['', Buffer.alloc(0)], ...others] = FILES;
const renamed = (name: string): Buffer => bundle([[name, first[1]], ...others]);
const changed = (change: (contents: ReturnType<typeof contentsOf>) => object): Buffer =>
  bundle(FILES, { ...contentsOf(FILES), ...change(contentsOf(FILES)) });

describe('when a bundle was made by somebody else', () => {
  it.each([
    ['a way upwards', () => Buffer.concat([withName('../../etc/passwd')])],
    ['an absolute path', () => withName('/etc/passwd')],
    ['a name that means nothing', () => renamed('agent.json')],
    ['a file of a name that is no digest', () => renamed('blobs/model.onnx')],
    ['a digest that its name contradicts', () => renamed(`blobs/${'0'.repeat(64)}`)],
    ['a symbolic link', () => withKind('2')],
    ['a hard link', () => withKind('1')],
    ['a folder', () => withKind('5')],
    ['an extended header', () => withKind('x')],
    ['one entry twice', () => bundle([first, first])],
    ['another format', () => changed(() => ({ format: 'drover.bundle/2' }))],
    ['unknown keys', () => changed(() => ({ trusted: true }))],
    [
      'other sizes than its table says',
      () => changed(({ entries }) => ({ entries: entries.map((e) => ({ ...e, bytes: e.bytes + 1 })) })),
    ],
    ['another order than its table says', () => changed(({ entries }) => ({ entries: [...entries].reverse() }))],
    ['more than its table says', () => changed(({ entries }) => ({ entries: entries.slice(0, -1) }))],
    ['a table that never ends', () => Buffer.concat([ustarFileHeader('bundle.json', 1e9), Buffer.alloc(1024)])],
    ['something after its end', () => Buffer.concat([bundle(), Buffer.alloc(512)])],
    ['no table', () => bundle().subarray(1024)],
    ['a document that is too large', () => bundle([['metadata/1.root.json', Buffer.alloc(2 * 1024 ** 2 + 1)]])],
  ])('is refused: %s', async (_what, make) => {
    const refusal = layout(make());
    await expect(refusal).rejects.toBeInstanceOf(BundleError);
    await expect(refusal).rejects.toMatchObject({ code: 'BUNDLE_MALFORMED' });
  });
});

/** A valid bundle whose second header was made anew, with a right checksum. */
function withField(at: number, text: string): Buffer {
  const content = bundle();
  const start = content.indexOf('metadata/1.root.json', 512 + JSON.stringify(contentsOf(FILES)).length);
  const header = content.subarray(start, start + 512);
  header.fill(0, at, at + (at === 0 ? 100 : 1));
  header.write(text, at, 'latin1');
  header.write(' '.repeat(8), 148, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return content;
}
const withName = (name: string): Buffer => withField(0, name);
const withKind = (kind: string): Buffer => withField(156, kind);
