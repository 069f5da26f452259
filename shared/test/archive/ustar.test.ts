import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { paddingOf, parseUstarHeader, USTAR_BLOCK_BYTES } from '../../src/archive/index.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'drover-ustar-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** The first header of what tar itself makes. */
const packed = (...args: string[]): Buffer =>
  execFileSync('tar', ['-C', folder, '-cf', '-', ...args]).subarray(0, USTAR_BLOCK_BYTES);

describe('the header of an archive', () => {
  it('when tar has made it, names the file and its size', () => {
    const long = `${'a'.repeat(90)}-${'b'.repeat(9)}`;
    writeFileSync(join(folder, long), 'seven b');
    expect(parseUstarHeader(packed('--format=ustar', long))).toEqual({ path: long, isFolder: false, bytes: 7 });
    expect(parseUstarHeader(packed('--format=ustar', '--transform=s,^,some/folder/of/a/bundle/,', long))).toEqual({
      path: `some/folder/of/a/bundle/${long}`,
      isFolder: false,
      bytes: 7,
    });
  });

  it('when the archive ends, says so', () => {
    expect(parseUstarHeader(Buffer.alloc(USTAR_BLOCK_BYTES))).toBe('end');
  });

  it.each([
    ['a link', ['--format=ustar', 'link']],
    ['another format', ['--format=v7', 'file']],
    ['an extended header', ['--format=pax', '--pax-option=comment=x', 'file']],
    ['a way upwards', ['--format=ustar', '-P', '--transform=s,^,../,', 'file']],
    ['an absolute path', ['--format=ustar', '-P', '--transform=s,^,/etc/,', 'file']],
    ['a way upwards inside', ['--format=ustar', '-P', '--transform=s,^,a/../../,', 'file']],
  ])('when it holds %s, is refused', (_, args) => {
    writeFileSync(join(folder, 'file'), 'x');
    symlinkSync('/etc/passwd', join(folder, 'link'));
    expect(parseUstarHeader(packed(...args))).toHaveProperty('refused');
  });

  it('when any byte of it is another, is refused or says the same path', () => {
    writeFileSync(join(folder, 'file'), 'x');
    const header = packed('--format=ustar', 'file');
    fc.assert(
      fc.property(fc.nat({ max: USTAR_BLOCK_BYTES - 1 }), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const changed = Buffer.from(header);
        changed[at] = ((changed[at] ?? 0) + by) % 256;
        const entry = parseUstarHeader(changed);
        expect(entry).not.toBe('end');
        if (entry !== 'end' && !('refused' in entry)) expect(entry.path).toBe('file');
      }),
    );
  });

  it('when its bytes are random, never throws', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 600 }), (bytes) => {
        parseUstarHeader(bytes);
      }),
    );
  });
});

it('fills contents up to whole blocks', () => {
  expect([0, 1, 511, 512, 513].map(paddingOf)).toEqual([0, 511, 1, 0, 511]);
});
