import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestOf } from '@drover/shared/ids';
import { PlacedReleases } from '../../src/attach/placed-release.js';
import type { InstalledModel } from '../../src/update/ports.js';
import { installClassifier } from '../serve/installed-classifier.js';

const signal = new AbortController().signal;

/** Reads the model through the path as fast as it can, and counts what it finds. */
const READER = `
const { createHash } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { parentPort, workerData: { path, stop } } = require('node:worker_threads');
const found = {};
do {
  let digest;
  try {
    digest = 'sha256:' + createHash('sha256').update(readFileSync(path + '/model.onnx')).digest('hex');
  } catch (error) {
    digest = error.code;
  }
  found[digest] = (found[digest] ?? 0) + 1;
} while (Atomics.load(stop, 0) === 0);
parentPort.postMessage(found);
`;

describe('releases at a stable path', () => {
  let folder: string;
  let path: string;
  let first: InstalledModel;
  let second: InstalledModel;
  let placed: PlacedReleases;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'drover-placed-'));
    path = join(folder, 'models', 'classifier');
    first = await installClassifier({ directory: join(folder, 'first') });
    second = await installClassifier({ directory: join(folder, 'second'), seed: 2, version: '1.1.0' });
    placed = new PlacedReleases(path);
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('when a release is put there, the application finds its files whole and for reading only', async () => {
    await placed.switchTo(await placed.place(first, signal));
    expect(digestOf(readFileSync(join(path, 'model.onnx')))).toBe(first.loaded);
    expect(readFileSync(join(path, 'digest'), 'utf8')).toBe(`${first.loaded}\n`);
    expect(JSON.parse(readFileSync(join(path, 'release.json'), 'utf8'))).toMatchObject({
      format: 'drover.attached/1',
      model: 'classifier',
      version: '1.0.0',
      digest: first.release.digest,
      file: 'model.onnx',
    });
    expect(digestOf(readFileSync(join(path, 'files/golden.json')))).toBe(first.manifest.goldenVectors.digest);
    expect([statSync(path).mode & 0o777, statSync(join(path, 'model.onnx')).mode & 0o777]).toEqual([0o755, 0o444]);
  });

  it('when the link is switched while somebody reads, it reads one release or the other, never neither', async () => {
    const folders = [await placed.place(first, signal), await placed.place(second, signal)] as const;
    await placed.switchTo(folders[0]);
    const stop = new Int32Array(new SharedArrayBuffer(4));
    const reader = new Worker(READER, { eval: true, workerData: { path, stop } });
    const read = new Promise<Record<string, number>>((resolve) => reader.once('message', resolve));
    for (let turn = 0; turn < 200; turn++) await placed.switchTo(folders[turn % 2 === 0 ? 1 : 0]);
    Atomics.store(stop, 0, 1);
    const found = await read;
    await reader.terminate();
    expect(Object.keys(found).filter((digest) => digest !== first.loaded && digest !== second.loaded)).toEqual([]);
    expect(readdirSync(join(path, '..')).sort()).toEqual(['classifier', 'classifier.releases']);
  });

  it('when it was placed before, the copy is used again; a damaged one is not, and stays while it is linked', async () => {
    const once = await placed.place(first, signal);
    expect(await placed.place(first, signal)).toBe(once);
    chmodSync(join(once, 'model.onnx'), 0o644);
    writeFileSync(join(once, 'model.onnx'), 'changed by somebody');
    const again = await placed.place(first, signal);
    expect(again).not.toBe(once);
    expect(digestOf(readFileSync(join(again, 'model.onnx')))).toBe(first.loaded);
    expect(readFileSync(first.modelFile)).not.toEqual(readFileSync(join(once, 'model.onnx')));
    await placed.keepOnly([again]);
    expect(readdirSync(`${path}.releases`)).toHaveLength(1);
  });

  it('when a power cut left something half done, it is removed', async () => {
    await placed.place(first, signal);
    mkdirSync(`${path}.releases/1.2.0-x.tmp`);
    writeFileSync(`${path}.0123456789ab.tmp`, '');
    const folderOfFirst = await placed.place(first, signal);
    expect(readdirSync(`${path}.releases`).map((name) => join(`${path}.releases`, name))).toEqual([folderOfFirst]);
    expect(readdirSync(join(path, '..'))).toEqual(['classifier.releases']);
  });

  it('when something else lies at the path, it is left alone, and that is said', async () => {
    mkdirSync(join(folder, 'models'));
    writeFileSync(path, 'of somebody');
    await expect(placed.place(first, signal)).rejects.toMatchObject({ code: 'ATTACH_PATH_UNUSABLE' });
    expect(readFileSync(path, 'utf8')).toBe('of somebody');
  });

  it('when the file is not what its release says, nothing is placed', async () => {
    const wrong = { ...first, loaded: second.loaded };
    await expect(placed.place(wrong, signal)).rejects.toMatchObject({ code: 'ATTACH_COPY_DAMAGED' });
    expect(await placed.linked()).toBeUndefined();
  });
});
