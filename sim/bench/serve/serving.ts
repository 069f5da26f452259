import { join } from 'node:path';
import { systemClock } from '@drover/agent/host';
import { createStoreRecorder, openTelemetryThread } from '@drover/agent/monitor';
import { ProcessServing } from '@drover/agent/serve';

/** Serving as the agent does it: a process of its own, recorder and monitor on. */
export async function openBenchServing(folder: string, progress: (line: string) => void) {
  const tell = (error: unknown): void => progress(String(error));
  const telemetry = await openTelemetryThread({
    file: join(folder, 'telemetry.db'),
    maxSamples: 20_000,
    onIncident: tell,
  });
  const recorder = createStoreRecorder({ store: telemetry, onIncident: tell });
  const serving = await ProcessServing.open({
    host: '127.0.0.1',
    port: 0,
    providers: ['cpu'],
    hardwareClass: 'generic',
    serverVersion: 'bench',
    clock: systemClock,
    recorder,
    onIncident: tell,
  });
  return {
    serving,
    async close(): Promise<void> {
      await serving.close();
      await recorder.settled();
      await telemetry.close();
    },
  };
}
