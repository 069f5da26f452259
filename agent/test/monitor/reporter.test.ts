import { newLabelRequestId } from '@drover/shared/ids';
import { TelemetryBody } from '@drover/shared/protocol';
import { Value } from 'typebox/value';
import { describe, expect, it } from 'vitest';
import { createReporter, inlineTelemetry, openTelemetry } from '../../src/monitor/index.js';
import { RELEASE, served } from './served-samples.js';

describe('the reporter', () => {
  it('when a window ends, its body follows the protocol and covers what came since the one before', async () => {
    const store = inlineTelemetry(
      openTelemetry({ file: ':memory:', maxSamples: 100, nowMs: () => 0, onRebuilt: () => undefined }),
    );
    let nowMs = 1_000;
    const outcomes = Array.from({ length: 201 }, () => ({ id: newLabelRequestId(), became: 'joined' }));
    const reporter = createReporter({
      store,
      host: { metrics: () => Promise.resolve({ cpuShare: 0.5 }) },
      clock: { monotonic: () => nowMs },
      labelTerms: () => ({ maxOpen: 200, sendFeatures: false, expireAfterMs: 1, isAfresh: false, nowMs }),
      takeLabelOutcomes: (limit) => outcomes.splice(0, limit),
    });
    await store.record([served('r1', [[1]])]);
    nowMs = 3_500;
    const body = await reporter.telemetryBody();
    expect(Value.Check(TelemetryBody, body)).toBe(true);
    expect(body).toMatchObject({ windowMs: 2_500, host: { cpuShare: 0.5 }, models: [{ ...RELEASE, requests: 1 }] });
    expect(body.inputs).toBeUndefined();
    expect(body.labels).toEqual({ open: [], described: [] });
    const held = { ...RELEASE, atMs: 7_200_000, rows: 9, refusedRequests: 1 };
    const broken = {
      rule: 0,
      input: 'x',
      feature: '',
      says: 'there',
      rows: 4,
      windows: 1,
      windowsBelow: 1,
      share: 0.5,
    };
    await store.inputs([{ ...held, violations: [broken] }]);
    nowMs = 3_600;
    const next = await reporter.telemetryBody();
    expect(Value.Check(TelemetryBody, next)).toBe(true);
    expect(next.labels).toBeUndefined();
    expect([body.labelOutcomes?.length, next.labelOutcomes?.length]).toEqual([200, 1]);
    expect(next.inputs).toMatchObject([
      { ...RELEASE, hour: 2, rows: 9, refusedRequests: 1, violations: [{ rows: 4 }] },
    ]);
    nowMs = 4_100;
    const last = await reporter.telemetryBody();
    expect(last).toMatchObject({ windowMs: 500, models: [] });
    expect(last.labelOutcomes).toBeUndefined();
    await store.close();
  });
});
