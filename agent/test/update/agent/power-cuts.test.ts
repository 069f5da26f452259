import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { AGENT_MODEL } from '@drover/shared/manifest';
import type { Deployment } from '@drover/shared/protocol';
import { readSlots, writeSlots, type SlotName, type Slots } from '../../../src/launcher/index.js';
import { nextStep, type LauncherEvent } from '../../../src/launcher/transitions.js';
import { AgentSlots, LaunchedAgent } from '../../../src/update/index.js';
import type { InstalledAgent } from '../../../src/update/ports.js';
import { nextMacrotask, openBench, type Bench } from '../fixtures/bench.js';
import { Fuse, ignoreCut } from '../fixtures/fuse.js';
import { orderFor, signed, type Published } from '../fixtures/releases.js';
import { platform, publishAgent } from './bundles.js';

const FACTORY = '1.0.0-0123456789ab' as SlotName;
const newer = publishAgent('1.1.0');

/** Its writes can be cut like those of the journal. */
class CutSlots extends AgentSlots {
  readonly #fuse: Fuse;
  constructor(stateDir: string, fuse: Fuse) {
    super(stateDir);
    this.#fuse = fuse;
  }
  override write(slots: Slots): void {
    this.#fuse.pass('slots');
    super.write(slots);
  }
  override async stage(candidate: InstalledAgent, signal: AbortSignal): Promise<void> {
    this.#fuse.pass('stage');
    await super.stage(candidate, signal);
  }
}

/** The launcher by its own table, and agents of both versions on one data folder, from power on to the end of the update. */
async function live(bench: Bench, stateDir: string, order: Deployment, canConnect: boolean, first: Fuse) {
  let fuse = first;
  let event: LauncherEvent = { kind: 'launched' };
  for (let starts = 0; starts < 20; starts += 1) {
    const slots = readSlots(stateDir);
    if (slots === undefined || slots === 'damaged') throw new Error('no slots');
    const step = nextStep({ slots, event, damaged: new Set(), nowMs: 1 });
    writeSlots(stateDir, step.record);
    event = { kind: 'launched' };
    if (step.kind === 'leave') continue;
    const { slot } = step;
    let isReplaced = false;
    const agent = new LaunchedAgent({
      slots: new CutSlots(stateDir, fuse),
      slot,
      nodeVersion: '20.0.0',
      configArguments: [],
      environment: { PATH: process.env['PATH'] },
      diskFreeBytes: () => Promise.resolve(2 ** 40),
      nowMs: () => 1,
      restart: () => (isReplaced = true),
    });
    if (slot === FACTORY || canConnect) agent.connected();
    await bench.boot({ killPoint: fuse.pass, agentReleases: { runner: agent, platform } });
    const isOver = () => isReplaced || fuse.isBlown;
    const state = () => bench.updater.state().find(({ model }) => model === AGENT_MODEL);
    await bench.updater.resume().catch(ignoreCut);
    // Without its PUBACK the broker delivers the order again in each life.
    await bench.updater.receive(signed(order)).catch(ignoreCut);
    while (!isOver() && !(state()?.update.state === 'idle' && state()?.lastOutcome)) await nextMacrotask();
    const outcome = state()?.lastOutcome;
    await bench.updater.close().catch(ignoreCut);
    if (!isOver()) return { outcome, slot, starts };
    if (fuse.isBlown) fuse = new Fuse();
    else event = { kind: 'ended', slot, wasUp: true, cause: 'exited', detail: 'it made room', status: 0 };
  }
  throw new Error('The device came to no end.');
}

describe.each([
  // Before that it is like any release (kill-points.test.ts), and until it is asked for, the second is like the first.
  { release: 'a good agent', canConnect: true, from: 'stage', outcome: 'committed', version: '1.1.0' },
  { release: 'an agent that cannot connect', canConnect: false, from: 'slots', outcome: 'fell-back', version: '1.0.0' },
])('when the power is cut while $release is installed', ({ canConnect, from, outcome, version }) => {
  async function deviceCutAt(at: number | undefined): Promise<Fuse> {
    const stateDir = mkdtempSync(join(tmpdir(), 'drover-agent-cuts-'));
    writeSlots(stateDir, { format: 'drover.slots/1', factory: FACTORY, committed: FACTORY });
    const bench = await openBench([newer as unknown as Published]);
    await bench.updater.close();
    try {
      const fuse = new Fuse(at);
      const ended = await live(bench, stateDir, orderFor(newer, { model: AGENT_MODEL }), canConnect, fuse);
      expect(ended.outcome, `cut at ${at}`).toMatchObject({ outcome });
      expect(ended.slot.split('-')[0], `cut at ${at}`).toBe(version);
      const slots = readSlots(stateDir) as Slots;
      expect([slots.committed, slots.candidate], `cut at ${at}`).toEqual([ended.slot, undefined]);
      return fuse;
    } finally {
      await bench.close();
      rmSync(stateDir, { recursive: true, force: true });
    }
  }

  it('the device ends as without it, from a cut at every single write', { timeout: 120_000 }, async () => {
    const { names } = await deviceCutAt(undefined);
    const [begin, writes] = [names.indexOf(from), names.length];
    expect(begin).toBeGreaterThanOrEqual(0);
    expect(writes - begin).toBeGreaterThan(8);
    for (let at = begin; at < writes; at += 1) expect((await deviceCutAt(at)).isBlown, `cut at ${at}`).toBe(true);
  });
});
