import { statfs } from 'node:fs/promises';
import { cpus, freemem, totalmem, type CpuInfo } from 'node:os';
import type { HostMetrics } from '@drover/shared/protocol';

/** The machine as a port, so that the simulator can fake it. */
export interface HostProbe {
  /** What can be measured now; a probe that fails leaves its field out. */
  metrics(): Promise<HostMetrics>;
  /** Bytes that an unprivileged process may still write to the file system of `path`. */
  diskFreeBytes(path: string): Promise<number>;
}

const MIB = 1024 ** 2;

export async function diskFreeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}

/**
 * Probes this machine. CPU, memory and disk come from the kernel by `node:os` and `statfs`; temperature and GPU from systeminformation, which
 * starts programs (nvidia-smi, lspci), so it is loaded at the first call, and the GPU is looked for only once where there is none. Only its two
 * modules that are needed are loaded: all of it costs 7 MiB, these two 1 MiB.
 *
 * @param diskPath the file system that the agent writes to
 */
export function createHostProbe({ diskPath }: { diskPath: string }): HostProbe {
  let cpuBefore = cpus();
  let mayHaveGpu = true;

  const cpuShare = (): HostMetrics => {
    const cpuNow = cpus();
    const busyShare = shareOfBusy(cpuBefore, cpuNow);
    cpuBefore = cpuNow;
    return busyShare === undefined ? {} : { cpuShare: busyShare };
  };
  const memory = (): HostMetrics => ({
    memoryTotalMiB: Math.round(totalmem() / MIB),
    memoryUsedMiB: Math.round((totalmem() - freemem()) / MIB),
  });
  const disk = async (): Promise<HostMetrics> => {
    const { bavail, blocks, bsize } = await statfs(diskPath);
    return { diskTotalMiB: Math.round((blocks * bsize) / MIB), diskFreeMiB: Math.round((bavail * bsize) / MIB) };
  };
  const temperature = async (): Promise<HostMetrics> => {
    const { cpuTemperature } = await import('systeminformation/lib/cpu.js');
    // Typed as a number, but null where the board has no sensor.
    const main = (await cpuTemperature()).main as number | null;
    return main === null ? {} : { temperatureC: main };
  };
  const gpu = async (): Promise<HostMetrics> => {
    if (!mayHaveGpu) return {};
    const { graphics } = await import('systeminformation/lib/graphics.js');
    // A display adapter without counters (a server's VGA chip) can't run models.
    const found = (await graphics()).controllers.find(
      ({ memoryUsed, utilizationGpu }) => memoryUsed !== undefined || utilizationGpu !== undefined,
    );
    mayHaveGpu = found !== undefined;
    if (!found) return {};
    return {
      gpu: {
        name: found.name ?? found.model,
        ...(found.memoryUsed === undefined ? {} : { memoryUsedMiB: found.memoryUsed }),
        ...(found.utilizationGpu === undefined ? {} : { utilizationShare: found.utilizationGpu / 100 }),
      },
    };
  };

  return {
    diskFreeBytes,
    async metrics() {
      const probes = [cpuShare, memory, disk, temperature, gpu].map(async (probe) => probe());
      const results = await Promise.allSettled(probes);
      return Object.assign(
        {},
        ...results.map((result) => (result.status === 'fulfilled' ? result.value : {})),
      ) as HostMetrics;
    },
  };
}

/** Share of the time between two readings that the processors were not idle; undefined when no tick has passed. */
function shareOfBusy(before: readonly CpuInfo[], after: readonly CpuInfo[]): number | undefined {
  const total = (readings: readonly CpuInfo[]) =>
    readings.reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.idle + times.irq, 0);
  const idle = (readings: readonly CpuInfo[]) => readings.reduce((sum, { times }) => sum + times.idle, 0);
  const elapsed = total(after) - total(before);
  if (elapsed <= 0) return undefined;
  return Math.min(1, Math.max(0, 1 - (idle(after) - idle(before)) / elapsed));
}
