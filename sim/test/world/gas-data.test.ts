import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openGasWorld, type Examples, type World } from '../../src/world/index.js';
import { trainSoftmaxRegression } from './softmax-regression.js';

/** Rows whose first column says batch × 1000 + row, so that every row can be told. */
function batchText(batch: number, rows: number): string {
  return Array.from({ length: rows }, (_, row) => {
    const cells = Array.from(
      { length: 128 },
      (_cell, index) => `${index + 1}:${index === 0 ? batch * 1000 + row : index}.5`,
    );
    return `${(row % 6) + 1} ${cells.join(' ')}`;
  }).join('\n');
}

const identities = ({ features, width, count }: Examples): number[] =>
  Array.from({ length: count }, (_, row) => Math.floor(features[row * width] as number));
const batchesOf = (examples: Examples): number[] => [
  ...new Set(identities(examples).map((identity) => Math.floor(identity / 1000))),
];

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'drover-gas-'));
  for (const batch of [1, 2, 3, 4, 5])
    await writeFile(join(directory, `batch${batch}.dat`), `${batchText(batch, 60)}\n`);
});
afterAll(() => rm(directory, { recursive: true }));

describe('when a folder of gas data is opened as a world', () => {
  it('rows for training are never streamed, before the drift and after it', async () => {
    const world = await openGasWorld({ directory, seed: 1, stepsPerPhase: 300 });
    const stable = world.trainingSet({ rows: 10_000, devices: 3 });
    const drifted = world.trainingSet({ rows: 10_000, devices: 3, drifted: true });
    expect([stable.count, drifted.count]).toEqual([84, 90]);
    expect(new Set(identities(stable)).size).toBe(84);
    const stream = world.stream('dev-1', 'north');
    const before = stream.next(600);
    world.startDrift();
    const after = stream.next(900);
    const trained = new Set([...identities(stable), ...identities(drifted)]);
    expect(identities(before).some((identity) => trained.has(identity))).toBe(false);
    expect(identities(after).some((identity) => trained.has(identity))).toBe(false);
    // 36 and 90 rows remain; that one of them is never drawn in 600 or 300 tries has probability below 0.01.
    expect(new Set(identities(before)).size).toBe(36);
    expect(new Set(identities(after)).size).toBe(90);
  });

  it('streams go through the batches phase by phase', async () => {
    const world = await openGasWorld({ directory, seed: 1, phases: [[3], [4, 5]], stepsPerPhase: 50 });
    const stream = world.stream('dev-1', 'north');
    expect(batchesOf(stream.next(50)).toSorted()).toEqual([1, 2]);
    expect(world.driftProgress()).toBe(0);
    world.startDrift();
    expect(batchesOf(stream.next(50))).toEqual([3]);
    expect(world.driftProgress()).toBe(0.5);
    expect(batchesOf(stream.next(500)).toSorted()).toEqual([4, 5]);
    expect(world.driftProgress()).toBe(1);
  });

  it('the same seed gives each device the same rows, in whatever order devices are asked', async () => {
    const [first, second] = [await openGasWorld({ directory, seed: 9 }), await openGasWorld({ directory, seed: 9 })];
    const inOrder = ['a', 'b'].map((device) => first.stream(device, 'north').next(20));
    const reversed = ['b', 'a'].map((device) => second.stream(device, 'north').next(20));
    expect(reversed.toReversed()).toEqual(inOrder);
    expect(inOrder[0]).not.toEqual(inOrder[1]);
    expect(second.trainingSet({ rows: 30, devices: 2 })).toEqual(first.trainingSet({ rows: 30, devices: 2 }));
    expect(first.trainingSet({ rows: 30, devices: 2 }).streams.filter((stream) => stream === 1)).toHaveLength(15);
  });

  it('a phase of a batch that is not part of the drift is refused', async () => {
    await expect(openGasWorld({ directory, seed: 1, phases: [[2]] })).rejects.toMatchObject({ code: 'WORLD_ARGUMENT' });
  });
});

describe('when the data are not there or damaged', () => {
  it('it names the folder or the file that is missing', async () => {
    const nowhere = join(directory, 'nowhere');
    await expect(openGasWorld({ directory: nowhere, seed: 1 })).rejects.toMatchObject({
      code: 'DATA_FOLDER_MISSING',
      where: nowhere,
    });
    await expect(openGasWorld({ directory: join(directory, 'batch1.dat'), seed: 1 })).rejects.toMatchObject({
      code: 'DATA_FOLDER_MISSING',
    });
  });

  const goodRow = batchText(2, 1);
  it.each<[string, string]>([
    ['a class outside 1 to 6', goodRow.replace(/^1/, '7')],
    ['a class that is no number', goodRow.replace(/^1/, 'x')],
    ['a missing column', goodRow.replace(/ 128:\S+/, '')],
    ['columns out of order', goodRow.replace('2:1.5 3:2.5', '3:2.5 2:1.5')],
    ['a value that is no number', goodRow.replace('5:4.5', '5:high')],
    ['an empty value', goodRow.replace('5:4.5', '5:')],
    ['nothing', ''],
  ])('it names file and line of %s', async (_, row) => {
    const broken = await mkdtemp(join(tmpdir(), 'drover-gas-broken-'));
    try {
      for (const batch of [1, 2, 3, 4, 5]) await writeFile(join(broken, `batch${batch}.dat`), batchText(batch, 6));
      const file = join(broken, 'batch2.dat');
      await writeFile(file, row === '' ? '\n' : `${goodRow}\n${row}\n`);
      await expect(openGasWorld({ directory: broken, seed: 1 })).rejects.toMatchObject({
        code: 'DATA_ROW_MALFORMED',
        where: row === '' ? file : `${file}:2`,
      });
    } finally {
      await rm(broken, { recursive: true });
    }
  });
});

const dataRoot = process.env['DROVER_DATA_DIR'] ?? resolve(import.meta.dirname, '../../../../shared/data');
const realDirectory = join(dataRoot, 'gas-sensor-drift');
const isAbsent = !existsSync(join(realDirectory, 'batch1.dat'));

describe.skipIf(isAbsent)(
  `when the real gas data are learnt${isAbsent ? ` (skipped: no data in ${realDirectory}; set DROVER_DATA_DIR)` : ''}`,
  () => {
    let world: World;
    let accuracyOf: (examples: Examples) => number;
    beforeAll(async () => {
      world = await openGasWorld({ directory: realDirectory, seed: 1, phases: [[3], [4]], stepsPerPhase: 400 });
      accuracyOf = trainSoftmaxRegression(world.trainingSet({ rows: 5000, devices: 10 }), 6);
    });

    it('a classifier of batches 1 and 2 does well on them, badly on batches 3 and 4, and well again when retrained', () => {
      expect(world.trainingSet({ rows: 5000, devices: 10 }).count).toBeCloseTo(0.7 * 1689, -1);
      const stream = world.stream('dev-1', 'north');
      expect(accuracyOf(stream.next(400))).toBeGreaterThan(0.95);
      world.startDrift();
      const [batch3, batch4] = [stream.next(400), stream.next(400)];
      expect(accuracyOf(batch3)).toBeLessThan(0.9);
      expect(accuracyOf(batch4)).toBeLessThan(0.75);
      const retrained = trainSoftmaxRegression(world.trainingSet({ rows: 5000, devices: 10, drifted: true }), 6);
      expect(retrained(batch3)).toBeGreaterThan(0.93);
      expect(retrained(batch4)).toBeGreaterThan(accuracyOf(batch4) + 0.1);
    });
  },
);
