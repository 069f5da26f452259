import { describe, expect, it } from 'vitest';
import type { TelemetryBody } from '@drover/shared/protocol';
import { createTelemetryReports } from '../../src/supervisor/telemetry-reports.js';

describe('createTelemetryReports', () => {
  it('when a report cannot be stored, its counts are kept and go first the next time, each once', async () => {
    let taken = 0;
    let isFull = true;
    const stored: TelemetryBody[] = [];
    const reports = createTelemetryReports(
      { telemetryBody: () => Promise.resolve({ windowMs: ++taken, models: [] }) },
      (body) => {
        if (!isFull) stored.push(body);
        return !isFull;
      },
    );
    await reports.next();
    await reports.next();
    expect([taken, stored.length]).toEqual([1, 0]);
    isFull = false;
    await reports.next();
    await reports.next();
    reports.flush();
    expect(stored.map(({ windowMs }) => windowMs)).toEqual([1, 2]);
  });

  it('when two are asked for at once and the disk is full, neither is forgotten', async () => {
    let taken = 0;
    let isFull = true;
    const stored: TelemetryBody[] = [];
    const reports = createTelemetryReports(
      { telemetryBody: () => Promise.resolve({ windowMs: ++taken, models: [] }) },
      (body) => {
        if (!isFull) stored.push(body);
        return !isFull;
      },
    );
    await Promise.all([reports.next(), reports.next()]);
    isFull = false;
    await Promise.all([reports.next(), reports.next()]);
    expect(stored.map(({ windowMs }) => windowMs)).toEqual([1, 2]);
  });
});
