import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openSequenceNumbers } from '../../src/link/sequence.js';

/** One life of a device: how long after the one before it began, and what happened in it. */
const life = fc.record({
  afterMs: fc.integer({ min: 1, max: 400 }),
  reports: fc.integer({ min: 0, max: 3 }),
  isKilled: fc.boolean(),
  file: fc.constantFrom('kept', 'kept', 'emptied', 'removed'),
});

describe('sequence numbers', () => {
  it('when a device is started faster than once a second, and loses the file of its numbers again and again, no number comes twice', () => {
    const directory = mkdtempSync(join(tmpdir(), 'drover-sequence-'));
    let device = 0;
    const law = fc.property(fc.array(life, { minLength: 2, maxLength: 30 }), (lives) => {
      const file = join(directory, String(++device));
      let nowMs = 1_795_964_000_000;
      const given: number[] = [];
      for (const [index, { afterMs, reports, isKilled, file: becomes }] of lives.entries()) {
        nowMs += afterMs;
        // All that was numbered before was sent.
        const numbers = openSequenceNumbers({ file, isFirstStart: index === 0, above: 0, nowMs });
        for (let report = 0; report < reports; report++) given.push(numbers.next());
        if (!isKilled) numbers.close();
        if (becomes === 'emptied') writeFileSync(file, '');
        if (becomes === 'removed') rmSync(file, { force: true });
      }
      expect(new Set(given).size).toBe(given.length);
      expect(given.every(Number.isSafeInteger)).toBe(true);
    });
    try {
      fc.assert(law);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
