import { copyFile, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { FileReference } from '@drover/shared/manifest';
import type { BenchDevice } from './bench-device.js';

const RUNS = 5;

export interface WriteSpeed {
  readonly ratio: number;
  readonly copyMs: number[];
  readonly deliverMs: number[];
}

/**
 * Verified, chunked, durable writing against a plain copy with fsync, alternating: `target` consists of chunks that `base` has too, so both read from this disk
 * and write to it.
 */
export async function measureWriteSpeed(
  device: BenchDevice,
  { base, target, signal }: { base: FileReference; target: FileReference; signal: AbortSignal },
): Promise<WriteSpeed> {
  const copyMs: number[] = [];
  const deliverMs: number[] = [];
  const source = device.store.blobFile(base.digest);
  const written = device.store.blobFile(target.digest);
  // Its index comes once, before: this is about the disk.
  await device.deliver(target, signal);
  for (let run = 0; run < RUNS; run++) {
    const copy = join(device.store.layout.incoming, 'copy');
    const copyStartMs = performance.now();
    await copyFile(source, copy);
    const handle = await open(copy, 'r');
    await handle.sync();
    await handle.close();
    copyMs.push(performance.now() - copyStartMs);
    await rm(copy);
    await rm(written);
    const deliverStartMs = performance.now();
    await device.deliver(target, signal);
    deliverMs.push(performance.now() - deliverStartMs);
  }
  return { ratio: median(copyMs) / median(deliverMs), copyMs, deliverMs };
}

export const median = (values: readonly number[]): number =>
  [...values].sort((left, right) => left - right)[Math.floor(values.length / 2)] ?? NaN;
