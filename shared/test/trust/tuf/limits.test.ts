import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../../../src/trust/tuf/index.js';

const page = readFileSync(new URL('../../../../docs/protocol.md', import.meta.url), 'utf8');
const section = page.split(/^## /m).find((text) => text.startsWith('12. ')) ?? '';
const UNITS: Readonly<Record<string, number>> = { KiB: 1024, MiB: 1024 * 1024 };

/** The number that a row of the table of bounds begins with. */
function stated(what: string): number | undefined {
  const cell = new RegExp(`^ *\\| ${what} *\\| (\\d+)(?: (KiB|MiB))?`, 'm').exec(section);
  return cell ? Number(cell[1]) * (UNITS[cell[2] ?? ''] ?? 1) : undefined;
}

describe('the bounds of a device', () => {
  it('are those of docs/protocol.md, section 12, step 3', () => {
    expect({
      maxRootRotations: stated('new roots in one update'),
      maxRootBytes: stated('a root'),
      maxTimestampBytes: stated('the timestamp'),
      maxSnapshotBytes: stated('the snapshot'),
      maxTargetsBytes: stated('a targets role'),
      maxDelegations: stated('roles visited in one search'),
    }).toEqual(DEFAULT_LIMITS);
  });
});
