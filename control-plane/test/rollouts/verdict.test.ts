import { describe, expect, it } from 'vitest';
import { DeviceId, digestOf } from '@drover/shared/ids';
import { seededRandom, type SeededRandom } from '@drover/shared/statistics';
import { normalQuantile, type LabelledReport } from '../../src/rollouts/accuracy.js';
import { planComparison, type Comparison, type Labels } from '../../src/rollouts/comparison.js';
import { judgeFailures, type DeviceOutcome } from '../../src/rollouts/device-failures.js';
import { matchControls } from '../../src/rollouts/plan.js';
import type { Gate } from '../../src/rollouts/request.js';
import { judgeStage, recomputeStage, type StageEvidence, type StageFacts } from '../../src/rollouts/verdict.js';

const CANDIDATE = digestOf(Buffer.from('candidate'));
const OLD = digestOf(Buffer.from('old'));

const gate: Gate = {
  metric: 'accuracy',
  acceptableDrop: 0.05,
  unacceptableDrop: 0.2,
  alpha: 0.05,
  beta: 0.1,
  minSoakMs: 0,
  timeoutMs: 1000,
  failureShare: { acceptable: 0.05, unacceptable: 0.3 },
};
const named = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, index) => DeviceId(`${prefix}-${index}`));
const canaries = named('canary', 3);
const controls = named('control', 9);
const inOneStratum = (devices: readonly DeviceId[]) => devices.map((deviceId) => ({ deviceId, stratum: 's' }));
const heldOut = { accuracy: 0.9, rows: 5000 };
const NO_LABELS: Labels = { count: 0, correct: 0 };

const compare = (
  labelsOf: (device: DeviceId) => Labels = () => NO_LABELS,
  against: readonly DeviceId[] = controls,
): Comparison =>
  planComparison({
    metric: 'accuracy',
    matches: matchControls(inOneStratum(canaries), inOneStratum(against)),
    baselineOf: ({ device, controls: own }) => ({
      device: labelsOf(device),
      controls: own
        .map(labelsOf)
        .reduce(
          (left, right) => ({ count: left.count + right.count, correct: left.correct + right.correct }),
          NO_LABELS,
        ),
    }),
    heldOut,
  });

const allWell: DeviceOutcome[] = canaries.map((device) => ({ device, failed: false }));
const facts = (changes: Partial<StageFacts> = {}): StageFacts => ({
  candidate: CANDIDATE,
  gate,
  comparison: compare(),
  outcomes: allWell,
  pending: 0,
  reports: [],
  ...changes,
});

/** Reports in the order of arrival from rows of (device, digest, labelled, right). */
const reportsOf = (rows: readonly (readonly [DeviceId, typeof OLD, number, number])[]): LabelledReport[] =>
  rows.map(([device, digest, count, correct], index) => ({ report: index + 1, device, digest, count, correct }));

const windows = (count: number, correctOf: (device: DeviceId) => number): LabelledReport[] =>
  reportsOf(
    Array.from({ length: count }, () =>
      [...canaries, ...controls].map(
        (device) => [device, canaries.includes(device) ? CANDIDATE : OLD, 20, correctOf(device)] as const,
      ),
    ).flat(),
  );

describe('the verdict of a stage', () => {
  it('when there are no observations at all, it is NO_DATA (flagger #1581, #1011)', () => {
    expect(judgeStage(facts({ outcomes: [] }), undefined).verdict).toBe('NO_DATA');
    expect(judgeStage(facts(), undefined).verdict).toBe('NO_DATA');
  });

  it('when the canary errs and the control has no data, it never passes (kayenta #799)', () => {
    const silentControls = windows(100, () => 10).filter(({ device }) => canaries.includes(device));
    expect(judgeStage(facts({ reports: silentControls }), undefined).verdict).toBe('NO_DATA');
  });

  it('when only the controls report, it is NO_DATA: silence of the canary is no success', () => {
    const silentCanaries = windows(100, () => 18).filter(({ device }) => controls.includes(device));
    expect(judgeStage(facts({ reports: silentCanaries }), undefined).verdict).toBe('NO_DATA');
  });

  it('when a canary reports under its old release, nothing of that counts (hawkBit #3185)', () => {
    const unchanged = windows(100, () => 18).map((report) => ({ ...report, digest: OLD }));
    expect(judgeStage(facts({ reports: unchanged }), undefined).verdict).toBe('NO_DATA');
  });

  it('when canary and control serve alike, it passes; when the canary falls by 25 points, it fails', () => {
    expect(judgeStage(facts({ reports: windows(60, () => 18) }), undefined).verdict).toBe('PASS');
    const fallen = judgeStage(
      facts({ reports: windows(60, (device) => (canaries.includes(device) ? 13 : 18)) }),
      undefined,
    );
    expect(fallen).toMatchObject({
      verdict: 'FAIL',
      reason: expect.stringMatching(/^Accuracy fell: mean change −25\.0 points/) as string,
    });
  });

  it('when the whole world gets worse by the same, canary and control alike, it is no fault of the release', () => {
    const before = compare(() => ({ count: 400, correct: 360 }));
    expect(judgeStage(facts({ comparison: before, reports: windows(80, () => 12) }), undefined).verdict).toBe('PASS');
  });

  it('when a canary was always worse than its controls, it is judged by its change', () => {
    const before = compare((device) => ({ count: 2000, correct: canaries.includes(device) ? 1400 : 1800 }));
    const reports = windows(80, (device) => (canaries.includes(device) ? 14 : 18));
    expect(judgeStage(facts({ comparison: before, reports }), undefined).verdict).toBe('PASS');
  });

  it('when nothing runs an older release, it is judged against the held-out accuracy that the publisher signed', () => {
    const alone = compare(undefined, []);
    expect(alone.mode).toBe('held-out');
    const own = (correct: number) => windows(60, () => correct).filter(({ device }) => canaries.includes(device));
    expect(judgeStage(facts({ comparison: alone, reports: own(18) }), undefined).verdict).toBe('PASS');
    expect(judgeStage(facts({ comparison: alone, reports: own(12) }), undefined).verdict).toBe('FAIL');
  });

  it('when there is neither a control nor a held-out accuracy, no amount of data passes', () => {
    const matches = matchControls(inOneStratum(canaries), []);
    const comparison = planComparison({
      metric: 'accuracy',
      matches,
      baselineOf: () => ({ device: NO_LABELS, controls: NO_LABELS }),
      heldOut: undefined,
    });
    expect(judgeStage(facts({ comparison, reports: windows(60, () => 20) }), undefined).verdict).toBe('NO_DATA');
  });

  it('when the gate asks about failures alone, labels are neither needed nor counted, and failures still decide', () => {
    const comparison = planComparison({
      metric: 'failures',
      matches: matchControls(inOneStratum(canaries), inOneStratum(controls)),
      baselineOf: () => ({ device: NO_LABELS, controls: NO_LABELS }),
      heldOut,
    });
    const verdictOf = (changes: Partial<StageFacts>) =>
      judgeStage(facts({ comparison, ...changes }), undefined).verdict;
    expect(verdictOf({})).toBe('PASS');
    expect(verdictOf({ reports: windows(60, (device) => (canaries.includes(device) ? 0 : 20)) })).toBe('PASS');
    expect(verdictOf({ outcomes: [], pending: 3 })).toBe('NO_DATA');
    expect(verdictOf({ outcomes: canaries.map((device) => ({ device, failed: true })) })).toBe('FAIL');
    const evidence = judgeStage(facts({ comparison }), undefined);
    expect(recomputeStage(evidence)).toEqual(evidence);
  });

  it('when reports come in pieces, after a restart, or again, the evidence is the same bit for bit, and so is its recomputation', () => {
    const reports = windows(40, (device) => (canaries.includes(device) ? 16 : 18));
    const whole = judgeStage(facts({ reports }), undefined);
    let inPieces: StageEvidence | undefined;
    for (let start = 0; start < reports.length; start += 7) {
      inPieces = judgeStage(facts({ reports: reports.slice(Math.max(0, start - 3), start + 7) }), inPieces);
      inPieces = JSON.parse(JSON.stringify(inPieces)) as StageEvidence;
    }
    expect(inPieces).toEqual(JSON.parse(JSON.stringify(whole)));
    expect(recomputeStage(JSON.parse(JSON.stringify(whole)) as StageEvidence)).toEqual(whole);
  });
});

describe('the share of devices that fail', () => {
  const outcomes = (well: number, failed: number): DeviceOutcome[] =>
    named('device', well + failed).map((device, index) => ({ device, failed: index >= well }));

  it('when a few devices end well and others are silent, it waits; when all have ended well, the stage passes', () => {
    expect(judgeFailures(gate, outcomes(3, 0), 2).verdict).toBe('INCONCLUSIVE');
    expect(judgeFailures(gate, outcomes(3, 0), 0).verdict).toBe('PASS');
    expect(judgeFailures(gate, [], 3).verdict).toBe('NO_DATA');
  });

  it('when one of three fails, it does not pass; when they go on failing, it fails', () => {
    expect(judgeFailures(gate, outcomes(2, 1), 0).verdict).toBe('INCONCLUSIVE');
    expect(judgeFailures(gate, outcomes(1, 3), 0).verdict).toBe('FAIL');
  });

  it('when every device failed, it fails at once instead of waiting for evidence that cannot come', () => {
    expect(judgeFailures(gate, outcomes(0, 1), 1).verdict).toBe('INCONCLUSIVE');
    expect(judgeFailures(gate, outcomes(0, 1), 0).verdict).toBe('FAIL');
  });

  it('when many end well, silence of the rest does not hold the stage up', () => {
    expect(judgeFailures(gate, outcomes(30, 0), 5).verdict).toBe('PASS');
  });
});

describe('error rates of the accuracy test, by simulation with three canaries', () => {
  const RUNS = 300;
  const WINDOWS = 60;
  const LABELS = 10;

  /** Devices differ, baselines are short, and the world changes for all in the middle. */
  const simulate = (random: SeededRandom, drop: number): { verdict: string; windows: number } => {
    const skill = new Map([...canaries, ...controls].map((device) => [device, 0.86 + 0.08 * random.next()]));
    const draw = (device: DeviceId, change: number, count: number): Labels => {
      let correct = 0;
      for (let label = 0; label < count; label++) correct += random.next() < (skill.get(device) ?? 0) - change ? 1 : 0;
      return { count, correct };
    };
    const baseline = new Map([...canaries, ...controls].map((device) => [device, draw(device, 0, 150)]));
    const comparison = compare((device) => baseline.get(device) ?? NO_LABELS);
    let evidence: StageEvidence | undefined;
    for (let window = 0; window < WINDOWS; window++) {
      const change = window > WINDOWS / 2 ? 0.1 : 0;
      const reports = [...controls, ...canaries].map((device, index): LabelledReport => {
        const isCanary = canaries.includes(device);
        const labels = draw(device, change + (isCanary ? drop : 0), LABELS);
        return { report: window * 100 + index + 1, device, digest: isCanary ? CANDIDATE : OLD, ...labels };
      });
      evidence = judgeStage(facts({ comparison, reports }), evidence);
      if (evidence.verdict === 'FAIL' || evidence.verdict === 'PASS')
        return { verdict: evidence.verdict, windows: window + 1 };
    }
    return { verdict: evidence?.verdict ?? 'NO_DATA', windows: WINDOWS };
  };
  const share = (drop: number, verdict: string): { share: number; medianWindows: number } => {
    const random = seededRandom(20260101);
    const runs = Array.from({ length: RUNS }, () => simulate(random, drop));
    const windowsOf = runs.map((run) => run.windows).sort((left, right) => left - right);
    return {
      share: runs.filter((run) => run.verdict === verdict).length / RUNS,
      medianWindows: windowsOf[RUNS / 2] ?? WINDOWS,
    };
  };

  it('when the release is as good as the old one, it is halted in at most alpha of the runs, and mostly passes', () => {
    expect(share(0, 'FAIL').share).toBeLessThanOrEqual(gate.alpha);
    expect(share(0, 'PASS').share).toBeGreaterThan(0.8);
  });

  it('when its drop is just acceptable, it is halted in at most alpha of the runs', () => {
    expect(share(gate.acceptableDrop, 'FAIL').share).toBeLessThanOrEqual(gate.alpha);
  });

  it('when its drop is just unacceptable, it passes in at most beta of the runs', () => {
    expect(share(gate.unacceptableDrop, 'PASS').share).toBeLessThanOrEqual(gate.beta);
  });

  it('when it is worse by 25 points, it is caught', () => {
    expect(share(0.25, 'FAIL').share).toBeGreaterThan(0.9);
  });
});

describe('normalQuantile', () => {
  it('gives the tabulated values (Abramowitz & Stegun, table 26.5)', () => {
    expect(normalQuantile(0.025)).toBeCloseTo(1.959964, 3);
    expect(normalQuantile(0.05)).toBeCloseTo(1.644854, 3);
    expect(normalQuantile(0.001)).toBeCloseTo(3.090232, 3);
  });
});
