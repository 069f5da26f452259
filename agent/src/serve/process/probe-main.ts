import { toCodedErrorJson } from '@drover/shared/coded-error';
import { readGoldenVectors, selfTest } from '../session/golden.js';
import { openSession } from '../session/session.js';
import { followSupervisor } from './follow-supervisor.js';
import type { FromProbe, ToProbe } from './messages.js';

// The probe: loads one candidate, tests it, says how it went, and ends. Whatever the candidate does to this process costs nothing.

const finish = (message: FromProbe): void => void process.send?.(message, () => process.exit(0));

process.once('message', ({ candidate, settings }: ToProbe) => {
  const test = async (): Promise<FromProbe> => {
    const beforeBytes = process.memoryUsage.rss();
    const { session, provider } = await openSession(candidate, settings);
    const result = await selfTest(session, candidate, await readGoldenVectors(candidate), {
      hardwareClass: settings.hardwareClass,
      provider: provider.actual,
    });
    // In KiB (getrusage(2)).
    const needMiB = Math.max(0, process.resourceUsage().maxRSS / 1024 - beforeBytes / 1024 ** 2);
    return { kind: 'passed', outcome: { provider, ...result, needMiB } };
  };
  test().then(finish, (error: unknown) => finish({ kind: 'failed', error: toCodedErrorJson(error) }));
});
followSupervisor();
