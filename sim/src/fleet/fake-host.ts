import type { HostProbe } from '@drover/agent/host';
import type { SeededRandom } from '@drover/shared/statistics';

/** A small Arm board that does not exist: plausible, slowly moving figures, and as much free disk as it is told. */
export function fakeHost(random: SeededRandom, diskFreeMiB = 20_000): HostProbe {
  const memoryTotalMiB = 3_964;
  let temperatureC = 45 + 3 * random.normal();
  return {
    metrics: () => {
      temperatureC += 0.1 * (45 - temperatureC) + 0.5 * random.normal();
      return Promise.resolve({
        cpuShare: Math.min(1, Math.max(0, 0.25 + 0.05 * random.normal())),
        memoryTotalMiB,
        memoryUsedMiB: Math.round(memoryTotalMiB * (0.4 + 0.01 * random.normal())),
        diskTotalMiB: 29_000,
        diskFreeMiB,
        temperatureC: Math.round(10 * temperatureC) / 10,
      });
    },
    diskFreeBytes: () => Promise.resolve(diskFreeMiB * 2 ** 20),
  };
}
