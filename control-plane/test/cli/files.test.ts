import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { writeBytes } from '../../src/cli/files.js';

it('when a file cannot take its place, nothing else is left where it should have been', () => {
  const folder = mkdtempSync(join(tmpdir(), 'drover-files-'));
  try {
    const file = join(folder, 'request.json');
    mkdirSync(join(file, 'occupied'), { recursive: true });
    expect(() => writeBytes(file, Buffer.from('text'))).toThrow(
      expect.objectContaining({ code: 'CLI_FILE_UNWRITABLE' }) as Error,
    );
    expect(readdirSync(folder)).toEqual(['request.json']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
