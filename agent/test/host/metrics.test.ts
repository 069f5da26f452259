import { tmpdir } from 'node:os';
import { describe, expect, it } from 'vitest';
import { HostMetrics } from '@drover/shared/protocol';
import { Value } from 'typebox/value';
import { createHostProbe, diskFreeBytes } from '../../src/host/index.js';

describe('when the host is measured', () => {
  it('gives metrics that follow the report schema, with memory and disk on any machine', async () => {
    const probe = createHostProbe({ diskPath: tmpdir() });
    const metrics = await probe.metrics();
    expect(Value.Check(HostMetrics, metrics)).toBe(true);
    expect(metrics.memoryTotalMiB).toBeGreaterThan(metrics.memoryUsedMiB ?? Infinity);
    expect(metrics.diskTotalMiB).toBeGreaterThanOrEqual(metrics.diskFreeMiB ?? Infinity);
  });

  it('leaves out what a failing probe would have measured', async () => {
    const metrics = await createHostProbe({ diskPath: '/no/such/folder' }).metrics();
    expect(metrics.diskTotalMiB).toBeUndefined();
    expect(metrics.memoryTotalMiB).toBeGreaterThan(0);
  });

  it('knows the free space of a file system', async () => {
    expect(await diskFreeBytes(tmpdir())).toBeGreaterThan(0);
  });
});
