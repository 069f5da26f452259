import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Bandwidth, RateWatch } from '../../../src/update/delivery/bandwidth.js';
import { virtualClock } from '../fixtures/virtual-clock.js';

const signal = new AbortController().signal;

describe('when a cap is set', () => {
  it('holds over any time, whatever the downloads take', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1_000, max: 10_000_000 }),
        fc.array(fc.integer({ min: 1, max: 65_536 }), { minLength: 1, maxLength: 60 }),
        async (maxBytesPerSecond, sizes) => {
          const clock = virtualClock();
          const bandwidth = new Bandwidth({ maxBytesPerSecond, minBytesPerSecond: 0 }, clock);
          const lanes = [bandwidth.enter('large'), bandwidth.enter('large')];
          let taken = 0;
          for (const [number, size] of sizes.entries()) {
            await lanes[number % 2]?.take(size, signal);
            taken += size;
            // After `take` the debt is paid: what came fits in the time that passed and the burst.
            expect(taken).toBeLessThanOrEqual((clock.monotonic() / 1000) * maxBytesPerSecond + 64 * 1024 + 1);
          }
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('when downloads compete', () => {
  it('lets the way back go first, and goes on when it has left', async () => {
    const clock = virtualClock();
    const bandwidth = new Bandwidth({ minBytesPerSecond: 0 }, clock);
    const large = bandwidth.enter('large');
    const revert = bandwidth.enter('revert');
    const order: string[] = [];
    const waiting = large.take(1000, signal).then(() => order.push('large'));
    for (let part = 0; part < 5; part++) await revert.take(1000, signal);
    order.push('revert');
    revert.leave();
    await waiting;
    expect(order).toEqual(['revert', 'large']);
  });

  it('ends the wait with the update', async () => {
    const bandwidth = new Bandwidth({ minBytesPerSecond: 0 }, virtualClock());
    bandwidth.enter('revert');
    const stop = new AbortController();
    const waiting = bandwidth.enter('small').take(1, stop.signal);
    stop.abort(new Error('superseded'));
    await expect(waiting).rejects.toThrow('superseded');
  });
});

describe('when a server is slow', () => {
  it('is given up after a minute of waiting for less than the minimum', () => {
    const watch = new RateWatch(1000);
    for (let second = 0; second < 59; second++) watch.received(10, 1000);
    expect(() => watch.received(10, 1000)).toThrow(
      expect.objectContaining({ code: 'FETCH_TOO_SLOW', retryable: true }) as Error,
    );
  });

  it('is not blamed for what the device holds back', () => {
    const watch = new RateWatch(1000);
    for (let chunk = 0; chunk < 10_000; chunk++) watch.received(100, 1);
  });

  it('is judged anew for each minute', () => {
    const watch = new RateWatch(1000);
    watch.received(10_000_000, 60_000);
    expect(() => watch.received(0, 60_000)).toThrow('0 bytes per second');
  });
});
