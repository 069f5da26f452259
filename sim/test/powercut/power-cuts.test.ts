import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, expect, it } from 'vitest';
import { cutPower, type CutViolation } from '../../src/powercut/trial/power-cuts.js';

const hasStrace = spawnSync('strace', ['--version']).status === 0;
const workFolder = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

async function cut(maxStates: number, withoutSyncs: string[] = []): Promise<{ found: CutViolation[]; states: number }> {
  const found: CutViolation[] = [];
  const bound = new AbortController();
  const timer = setTimeout(() => bound.abort(), 60_000);
  const { states, syncSites } = await cutPower({
    scenarios: ['upgrade'],
    seed: 1,
    maxStates,
    maxViolations: 1,
    samples: 1,
    withoutSyncs: new Set(withoutSyncs),
    workFolder,
    signal: bound.signal,
    onState: () => undefined,
    onViolation: (violation) => void found.push(violation),
  });
  clearTimeout(timer);
  for (const site of withoutSyncs) expect([...syncSites]).toContain(site);
  return { found, states };
}

// `npm run powercut` is the long version.
describe.skipIf(!hasStrace)('when the power is cut in the middle of an update (needs strace)', () => {
  it('the device serves, tells the truth and takes the next order', { timeout: 120_000 }, async () => {
    const { found, states } = await cut(10);
    expect(
      found.map(({ kind, what, state, trace }) => [kind, what, JSON.stringify(state), ...trace].join('\n')),
    ).toEqual([]);
    expect(states).toBeGreaterThanOrEqual(2);
  });

  // Files of a release that a cut took are not among these: the device notices, serves the release before it, and fetches again.
  it('does not without the fsync journal.db-wal', { timeout: 120_000 }, async () => {
    const { found } = await cut(60, ['fsync journal.db-wal']);
    expect(found.length).toBeGreaterThan(0);
  });
});
