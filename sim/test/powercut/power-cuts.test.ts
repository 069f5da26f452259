import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, expect, it } from 'vitest';
import { isBorne, NEEDED_SYNCS } from '../../src/powercut/trial/needed-syncs.js';
import { cutPower, weighSyncs, type CutViolation, type PowerCutOptions } from '../../src/powercut/trial/power-cuts.js';
import type { RecordedScenario } from '../../src/powercut/trial/recorded-update.js';

const hasStrace = spawnSync('strace', ['--version']).status === 0;
const workFolder = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

async function withOptions<Result>(
  scenario: RecordedScenario,
  maxStates: number,
  act: (options: PowerCutOptions) => Promise<Result>,
): Promise<{ result: Result; found: CutViolation[] }> {
  const found: CutViolation[] = [];
  const bound = new AbortController();
  const timer = setTimeout(() => bound.abort(), 60_000);
  const result = await act({
    scenarios: [scenario],
    seed: 1,
    maxStates,
    maxViolations: 1,
    samples: 1,
    workFolder,
    signal: bound.signal,
    onState: () => undefined,
    onViolation: (violation) => void found.push(violation),
  });
  clearTimeout(timer);
  return { result, found };
}

// `npm run powercut` is the long version, and `npm run powercut -- --each-sync` that of the second.
describe.skipIf(!hasStrace)('when the power is cut in the middle of an update (needs strace)', () => {
  it('the device serves, tells the truth and takes the next order', { timeout: 120_000 }, async () => {
    const { result, found } = await withOptions('upgrade', 10, cutPower);
    expect(
      found.map(({ kind, what, state, trace }) => [kind, what, JSON.stringify(state), ...trace].join('\n')),
    ).toEqual([]);
    expect(result.states).toBeGreaterThanOrEqual(2);
  });

  it.each([
    { scenario: 'first', sites: ['fsync device-key.json.tmp', 'fsync identity.json.tmp', 'fsync journal.db-wal'] },
    { scenario: 'agent', sites: ['fsync launcher/slots.json.tmp'] },
  ] as const)('it does not without $sites', { timeout: 120_000 }, async ({ scenario, sites }) => {
    const seen: string[] = [];
    const note = ({ site, violation }: { site: string; violation?: CutViolation }): void => {
      if (violation) seen.push(site);
    };
    await withOptions(scenario, 40, (options) =>
      weighSyncs(options, note, (site) => sites.some((each) => each === site)),
    );
    expect(seen).toEqual(sites);
  });
});

describe('the list of syncs', () => {
  it('calls none both needed and borne', () => {
    expect(NEEDED_SYNCS.filter(({ site }) => isBorne(site))).toEqual([]);
  });
});
