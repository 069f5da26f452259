import { rmSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LaneMemory } from '../../../src/serve/lanes/lane-memory.js';
import type { Region } from '../../../src/serve/protocol/shared-memory.js';

describe('the shared memory of a lane', () => {
  const key = `drover-lane-memory-${process.pid}`;
  const elsewhere: string[] = [];
  let memory: LaneMemory;
  const region = (name: string, offset = 0): Region => ({ name, key, offset, byteSize: 4 });

  beforeEach(() => {
    elsewhere.length = 0;
    writeFileSync(`/dev/shm/${key}`, Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]));
    memory = new LaneMemory({
      isAllowed: true,
      register: ({ name }) => Promise.resolve(void elsewhere.push(`register ${name}`)),
      unregister: (name) => Promise.resolve(void elsewhere.push(`unregister ${name ?? 'all'}`)),
    });
  });
  afterEach(async () => {
    await memory.close();
    rmSync(`/dev/shm/${key}`);
  });

  it('leaves to another thread what there is', async () => {
    await memory.register(region('a'));
    await memory.unregister('a');
    await memory.unregister();
    expect(elsewhere).toEqual(['register a', 'unregister a', 'unregister all']);
    expect(memory.status()).toEqual([]);
  });

  it('when two clients have registered at the same time, has both', async () => {
    await Promise.all([memory.adopt([region('a')]), memory.adopt([region('a'), region('b')])]);
    expect(memory.status()).toEqual([region('a'), region('b')]);
  });

  it('when a region was given up and another has its name, reads from the other', async () => {
    await memory.adopt([region('a')]);
    await memory.adopt([region('a', 4)]);
    expect(Array.from(await memory.read({ region: 'a', offset: 0, byteSize: 4 }))).toEqual([5, 6, 7, 8]);
  });

  it('when a region is gone, says so, and takes the next word all the same', async () => {
    await expect(memory.adopt([{ ...region('a'), key: 'drover-nothing' }])).rejects.toMatchObject({
      code: 'REQUEST_INVALID',
    });
    await memory.adopt([region('b')]);
    expect(memory.status()).toEqual([region('b')]);
  });
});
