import { expect, it } from 'vitest';
import { TufError, type RepositoryStatus } from '@drover/shared/trust/tuf';
import { systemClock } from '../../src/host/index.js';
import { createRepositoryWatch } from '../../src/supervisor/repository-watch.js';

const role = { version: 1, expiresAtMs: 1_000 };
const known: RepositoryStatus = {
  root: { version: 3, expiresAtMs: 9_000 },
  timestamp: role,
  snapshot: role,
  targets: role,
  freshUntilMs: 1_000,
  stale: undefined,
  cacheErrors: [],
};
const expired = new TufError('TUF_EXPIRED', 'timestamp.json expired.', { section: '5.4.4', where: 'timestamp.json' });

it('when metadata has expired and the look for newer fails, it says both, once as an incident', async () => {
  let status: RepositoryStatus = known;
  let monotonicMs = 0;
  const failures: Error[] = [];
  const incidents: unknown[] = [];
  const watch = createRepositoryWatch({
    updater: {
      repository: () => status,
      refreshRepository: () => (failures[0] ? Promise.reject(failures[0]) : Promise.resolve()),
    },
    clock: { ...systemClock, monotonic: () => monotonicMs },
    onIncident: (error) => void incidents.push(error),
  });
  const look = async () => {
    monotonicMs += 13 * 3_600_000;
    await watch.look();
  };
  await look();
  expect(watch.standing()).toEqual({ rootVersion: 3, freshUntil: 1_000 });
  status = { ...known, stale: expired };
  failures.push(new TufError('TUF_ROLLBACK', 'It went back.', { section: '5.4.3', where: 'timestamp.json' }));
  await look();
  await look();
  expect(watch.standing()).toMatchObject({ stale: { code: 'TUF_EXPIRED' }, lastFailure: { code: 'TUF_ROLLBACK' } });
  expect(incidents).toEqual([expired]);
  // Before the first refresh there is nothing that could have gone stale.
  status = { ...known, timestamp: undefined, freshUntilMs: undefined, stale: expired };
  expect(watch.standing()).toEqual({ rootVersion: 3, lastFailure: watch.standing().lastFailure });
  await watch.stop();
});
