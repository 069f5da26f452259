import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { parseFileList, slotDamage } from '../../src/launcher/slot-files.js';
import { readSlots, slotName, writeSlots, type Slots } from '../../src/launcher/slots.js';
import { writeSlot } from './device.js';

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'drover-slots-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

describe('the record of the slots', () => {
  const slots: Slots = { format: 'drover.slots/1', committed: slotName('1.2.3', 'ab'.repeat(32)) };

  it('when written, is read back', () => {
    const folder = temporaryFolder();
    expect(readSlots(folder)).toBeUndefined();
    writeSlots(folder, slots);
    expect(readSlots(folder)).toEqual(slots);
  });

  it.each([
    [''],
    ['null'],
    ['{}'],
    [JSON.stringify({ ...slots, format: 'drover.slots/2' })],
    [JSON.stringify({ ...slots, committed: '../../etc' })],
    [JSON.stringify({ ...slots, previous: 7 })],
    [JSON.stringify({ ...slots, candidate: { slot: slots.committed, attempts: -1, commitWithinMs: 1 } })],
    [JSON.stringify({ ...slots, lastFailure: {} })],
  ])('when it reads %j, it is not believed', (text) => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'slots.json'), text);
    expect(readSlots(folder)).toBe('damaged');
  });
});

describe('the list of the files of a slot', () => {
  const hash = '0'.repeat(64);

  it.each([
    ['it lacks its end', `${hash} 1 a\n`],
    ['a line is missing', `${hash} 1 a\ntotal 2\n`],
    ['a path is absolute', `${hash} 1 /etc/passwd\ntotal 1\n`],
    ['a path leads out', `${hash} 1 a/../../b\ntotal 1\n`],
    ['a path has an empty part', `${hash} 1 a//b\ntotal 1\n`],
    ['a digest is short', `${hash.slice(1)} 1 a\ntotal 1\n`],
  ])('when %s, it is refused', (_, text) => {
    expect(parseFileList(text)).toBeUndefined();
  });

  it('when a file has other bytes of the same number, only reading all of it tells', () => {
    const folder = join(temporaryFolder(), 'slot');
    writeSlot(folder, { 'bin/drover-agent': 'exec true\n', 'a.js': 'one' });
    expect(slotDamage(folder, 'whole')).toBeUndefined();
    writeFileSync(join(folder, 'a.js'), 'two');
    expect(slotDamage(folder, 'sizes')).toBeUndefined();
    expect(slotDamage(folder, 'whole')).toContain('a.js');
    rmSync(join(folder, 'a.js'));
    expect(slotDamage(folder, 'sizes')).toContain('ENOENT');
    rmSync(join(folder, 'FILES'));
    expect(slotDamage(folder, 'sizes')).toContain('FILES');
  });
});
