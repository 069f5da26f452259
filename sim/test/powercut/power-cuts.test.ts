import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, expect, it } from 'vitest';
import { isBorne, NEEDED_SYNCS, unexpected } from '../../src/powercut/trial/needed-syncs.js';
import {
  cutPower,
  weighSyncs,
  type CutTally,
  type CutViolation,
  type PowerCutOptions,
  type SyncWeight,
} from '../../src/powercut/trial/power-cuts.js';
import type { RecordedScenario } from '../../src/powercut/trial/recorded-update.js';

const hasStrace = spawnSync('strace', ['--version']).status === 0;
const workFolder = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

/** For one scenario as far as it was recorded, or for one sync of it. */
const BOUND_MS = 60_000;

interface Trial {
  readonly options: PowerCutOptions;
  readonly found: CutViolation[];
  /** What a later run could go on from. */
  readonly kept: CutTally[];
  readonly stop: () => void;
  /** The next part begins, and has its whole time. */
  readonly renewBound: () => void;
}

async function withTrial<Result>(
  scenario: RecordedScenario,
  maxStates: number,
  act: (trial: Trial) => Promise<Result>,
): Promise<Result> {
  const found: CutViolation[] = [];
  const kept: CutTally[] = [];
  const bound = new AbortController();
  const stop = (): void => bound.abort();
  const timer = setTimeout(stop, BOUND_MS);
  const options: PowerCutOptions = {
    scenarios: [scenario],
    seed: 1,
    maxStates,
    maxViolations: 1,
    samples: 1,
    workFolder,
    signal: bound.signal,
    onState: () => undefined,
    onDone: (tally) => void kept.push(structuredClone(tally)),
    onViolation: (violation) => void found.push(violation),
  };
  try {
    return await act({ options, found, kept, stop, renewBound: () => void timer.refresh() });
  } finally {
    clearTimeout(timer);
  }
}

// `npm run powercut` is the long version, and `npm run powercut -- --each-sync` that of the second.
describe.skipIf(!hasStrace)('when the power is cut in the middle of an update (needs strace)', () => {
  it('the device serves, tells the truth and takes the next order', { timeout: 120_000 }, () =>
    withTrial('upgrade', 10, async ({ options, found, kept }) => {
      const tally = await cutPower(options);
      expect(
        found.map(({ kind, what, state, trace }) => [kind, what, JSON.stringify(state), ...trace].join('\n')),
      ).toEqual([]);
      expect(tally.states).toBeGreaterThanOrEqual(2);
      expect(kept).toEqual([tally]);
    }),
  );

  it('keeps nothing of a scenario that was broken off: it is judged again', { timeout: 120_000 }, () =>
    withTrial('first', 10, async ({ options, kept, stop }) => {
      const tally = await cutPower({ ...options, onState: stop });
      expect(tally.states).toBe(1);
      expect(kept).toEqual([]);
    }),
  );

  it.each([
    { scenario: 'first', sites: ['fsync device-key.json.tmp', 'fsync identity.json.tmp', 'fsync journal.db-wal'] },
    { scenario: 'agent', sites: ['fsync launcher/slots.json.tmp'] },
  ] as const)('it does not without $sites', { timeout: 300_000 }, ({ scenario, sites }) =>
    withTrial(scenario, 40, async ({ options, renewBound }) => {
      const weighed: string[] = [];
      const seen: string[] = [];
      const note = ({ site, violation }: { site: string; violation?: CutViolation }): void => {
        renewBound();
        weighed.push(site);
        if (violation) seen.push(site);
      };
      await weighSyncs(options, note, (site) => sites.some((each) => each === site));
      expect(options.signal.aborted, `its time was over after ${weighed.join(', ')}`).toBe(false);
      expect(weighed).toEqual(sites);
      expect(seen).toEqual(sites);
    }),
  );
});

describe('the list of syncs', () => {
  const violation: CutViolation = {
    kind: 'stuck',
    what: '',
    scenario: 'first',
    state: { fileSystem: 'posix', cut: 0, survived: '' },
    trace: [],
  };
  const weighed = NEEDED_SYNCS.map(({ site, seenIn }): SyncWeight => ({
    scenario: seenIn,
    site,
    states: 1,
    violation,
  }));
  const scenarios = [...new Set(NEEDED_SYNCS.map(({ seenIn }) => seenIn))];

  it('calls none both needed and borne', () => {
    expect(NEEDED_SYNCS.filter(({ site }) => isBorne(site))).toEqual([]);
  });

  it('is held when each loss was seen where it says', () => {
    expect(unexpected(weighed, scenarios)).toEqual([]);
  });

  it.each([
    { what: 'needed and not made any more', of: [], why: 'fsync journal.db-wal is not made in "upgrade" any more' },
    {
      what: 'needed and borne',
      of: [{ states: 3 }],
      why: 'the loss of fsync journal.db-wal was not seen in "upgrade"',
    },
  ])('is broken by a sync that is $what', ({ of, why }) => {
    const [first, ...others] = weighed;
    const changed = of.map(({ states }) => ({ scenario: 'upgrade', site: first?.site ?? '', states }) as const);
    expect(unexpected([...changed, ...others], scenarios)).toEqual([why]);
  });

  it('asks for nothing of an update that was not weighed to its end', () => {
    expect(unexpected(weighed.slice(1), ['first'])).toEqual([]);
  });

  it('is broken by a sync that it does not have, and by a loss that is listed as borne', () => {
    const others = [
      { scenario: 'first', site: 'fsync new', states: 1 },
      { scenario: 'first', site: 'fsync blobs', states: 1, violation },
    ] as const;
    expect(unexpected([...weighed, ...others], scenarios)).toEqual([
      'fsync blobs is listed as borne, and its loss was seen',
      'fsync new is not listed',
    ]);
  });
});
