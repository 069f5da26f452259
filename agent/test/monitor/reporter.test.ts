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
    const reporter = createReporter({
      store,
      host: { metrics: () => Promise.resolve({ cpuShare: 0.5 }) },
      clock: { monotonic: () => nowMs },
    });
    await store.record([served('r1', [[1]])]);
    nowMs = 3_500;
    const body = await reporter.telemetryBody();
    expect(Value.Check(TelemetryBody, body)).toBe(true);
    expect(body).toMatchObject({ windowMs: 2_500, host: { cpuShare: 0.5 }, models: [{ ...RELEASE, requests: 1 }] });
    nowMs = 4_000;
    expect(await reporter.telemetryBody()).toMatchObject({ windowMs: 500, models: [] });
    await store.close();
  });
});
