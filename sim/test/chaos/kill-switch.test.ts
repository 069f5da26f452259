import { afterEach, describe, expect, it, vi } from 'vitest';
import type { KillPlan } from '../../src/chaos/device/plan.js';
import { KillSwitch } from '../../src/chaos/writes/kill-switch.js';

const PLAN: KillPlan = {
  fromStep: 0,
  at: 'moment',
  moment: 'before sync | starting | restart',
  occurrence: 1,
  otherwise: { fromStep: 1, occurrence: 2 },
};

/** Plays writes at a switch. @returns where it killed, in their order */
function killsOf(plan: KillPlan, writes: readonly { site: string; step: number }[]): string[] {
  const kills: string[] = [];
  vi.spyOn(process, 'kill').mockReturnValue(true);
  let step = 0;
  const place = () => ({ step, state: 'starting', role: step === 0 ? 'restart' : 'upgrade' });
  const killSwitch = new KillSwitch(plan, place, (event) => {
    if (event.event === 'killed') kills.push(event.moment);
  });
  for (const write of writes) {
    step = write.step;
    killSwitch.onWrite({ site: write.site, phase: 'before' });
  }
  return kills;
}

describe('the kill switch', () => {
  afterEach(() => vi.restoreAllMocks());

  it('kills at the moment where it comes', () => {
    expect(killsOf(PLAN, [{ site: 'sync', step: 0 }])).toEqual(['before sync | starting | restart']);
  });

  it('kills at a write of the steps after, where the moment did not come', () => {
    const writes = ['open', 'sync', 'close'].map((site) => ({ site, step: 1 }));
    expect(killsOf(PLAN, [{ site: 'open', step: 0 }, ...writes])).toEqual(['before sync | starting | upgrade']);
  });
});
