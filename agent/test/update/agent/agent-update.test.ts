import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AGENT_MODEL } from '@drover/shared/manifest';
import { readSlots, writeSlots, type SlotName, type Slots } from '../../../src/launcher/index.js';
import { AgentSlots, LaunchedAgent } from '../../../src/update/index.js';
import { nextMacrotask, openBench, type Bench } from '../fixtures/bench.js';
import { orderFor, quickProbation, signed, type Published } from '../fixtures/releases.js';
import { bundleOf, platform, publishAgent, soundProgram } from './bundles.js';

const FACTORY = '1.0.0-0123456789ab' as SlotName;
const [newer, newest] = [publishAgent('1.1.0'), publishAgent('1.2.0')];
type AgentRelease = Pick<Published, 'release'>;

let stateDir: string;
let bench: Bench;
let agent: LaunchedAgent;
let restarts: number;
beforeEach(async () => {
  stateDir = mkdtempSync(join(tmpdir(), 'drover-agent-slots-'));
  writeSlots(stateDir, { format: 'drover.slots/1', factory: FACTORY, committed: FACTORY });
  restarts = 0;
  agent = agentIn(FACTORY);
  const releases = [newer, newest] as unknown as Published[];
  bench = await openBench(releases, {});
  await bench.restart(launched());
});
afterEach(async () => {
  await bench.close();
  rmSync(stateDir, { recursive: true, force: true });
});

const launched = () => ({ agentReleases: { runner: agent, platform } });
const agentIn = (slot: SlotName) =>
  new LaunchedAgent({
    slots: new AgentSlots(stateDir),
    slot,
    nodeVersion: '20.0.0',
    configArguments: [],
    environment: { PATH: process.env['PATH'] },
    diskFreeBytes: () => Promise.resolve(2 ** 40),
    nowMs: () => 1,
    restart: () => (restarts += 1),
  });
const slots = (): Slots => {
  const read = readSlots(stateDir);
  if (read === undefined || read === 'damaged') throw new Error('no slots');
  return read;
};
const orderOf = (release: AgentRelease, change = {}) => orderFor(release, { model: AGENT_MODEL, ...change });
const order = (release: AgentRelease, change = {}) => bench.updater.receive(signed(orderOf(release, change)));
const state = () => bench.updater.state().find(({ model }) => model === AGENT_MODEL);
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await nextMacrotask();
}
/** What the launcher does: writes what it found, and starts the agent of a slot on the same data. */
async function startedIn(slot: SlotName, record: Slots): Promise<void> {
  writeSlots(stateDir, record);
  agent = agentIn(slot);
  await bench.restart(launched());
}
/** The old agent has asked for the candidate; the launcher starts it. */
async function startCandidate(): Promise<SlotName> {
  await until(() => restarts === 1);
  const { candidate, ...rest } = slots();
  if (!candidate) throw new Error('no candidate');
  await startedIn(candidate.slot, { ...rest, candidate: { ...candidate, attempts: 1 } });
  return candidate.slot;
}

describe('when a release of the agent is ordered', () => {
  it('it is laid out beside the one that runs, started by the launcher, and committed when it is fit', async () => {
    await order(newer);
    const slot = await startCandidate();
    await bench.settled();
    expect(bench.transitions.map(({ to }) => to)).toEqual([
      'received',
      'fetching',
      'verifying',
      'staging',
      'self-testing',
      'activating',
      'probation',
      'committing',
      'idle',
    ]);
    expect(slots()).toMatchObject({ committed: slot, previous: FACTORY });
    expect(slots().candidate).toBeUndefined();
    expect(state()).toMatchObject({ running: { release: newer.release }, lastOutcome: { outcome: 'committed' } });
  });

  it('and whichever bit of the note about it flips, no other release is reported', async () => {
    await order(newer);
    const slot = await startCandidate();
    await bench.settled();
    const all = new AgentSlots(stateDir);
    const note = join(all.folder(slot), '.release.json');
    const whole = readFileSync(note);
    const { version, digest, bundle } = all.releaseIn(slot) ?? {};
    expect({ version, digest }).toEqual(newer.release);
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const damaged = Buffer.from(whole);
      damaged.writeUInt8((damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7)), bit >> 3);
      writeFileSync(note, damaged);
      const found = all.releaseIn(slot);
      if (found) expect(found).toMatchObject({ version, digest, bundle });
    }
  });

  it('and the next one, the one before stays to fall back to and older ones go', async () => {
    for (const release of [newer, newest]) {
      restarts = 0;
      await order(release);
      await startCandidate();
      await bench.settled();
    }
    expect(readdirSync(join(stateDir, 'versions')).map((name) => name.split('-')[0])).toEqual(['1.1.0', '1.2.0']);
    expect(slots()).toMatchObject({ previous: expect.stringMatching(/^1\.1\.0/) as string });
  });

  it('and the launcher takes it back, the old agent reports why', async () => {
    await order(newer);
    await until(() => restarts === 1);
    const { candidate, ...rest } = slots();
    const slot = candidate?.slot ?? FACTORY;
    await startedIn(FACTORY, { ...rest, lastFailure: { slot, cause: 'not-up', detail: 'it was silent', atMs: 1 } });
    await bench.settled();
    expect(state()?.lastOutcome).toMatchObject({
      outcome: 'fell-back',
      error: { code: 'AGENT_TAKEN_BACK', what: expect.stringContaining('it was silent') as string },
    });
    // Another order for it is another try.
    restarts = 0;
    await order(newer);
    await until(() => restarts === 1);
    expect(slots().candidate).toMatchObject({ slot, attempts: 0 });
    expect(slots().lastFailure).toBeUndefined();
  });

  it('and cannot reach the control plane that the one before it could, it gives itself up', async () => {
    agent.connected();
    await order(newer);
    const slot = await startCandidate();
    await until(() => restarts === 2);
    expect(slots()).toMatchObject({ committed: FACTORY, lastFailure: { slot, cause: 'given-up' } });
    expect(slots().candidate).toBeUndefined();
    await startedIn(FACTORY, slots());
    await bench.settled();
    expect(state()?.lastOutcome).toMatchObject({ outcome: 'fell-back', error: { code: 'AGENT_UNFIT' } });
  });

  it('and reaches it within its probation, it is committed', async () => {
    agent.connected();
    await order(newer, { probation: { ...quickProbation, maxMs: 30_000 } });
    await startCandidate();
    agent.connected();
    await bench.settled();
    expect(state()?.lastOutcome?.outcome).toBe('committed');
  });

  it('and does not pass its own check, it is never started', async () => {
    const broken = publishAgent('1.3.0', bundleOf('1.3.0', 'echo "no such module" >&2; exit 4\n'));
    bench.server.add(broken as unknown as Published);
    await order(broken);
    await nextMacrotask();
    await bench.settled();
    expect(restarts).toBe(0);
    expect(state()?.lastOutcome?.error).toMatchObject({
      code: 'AGENT_SELF_TEST_FAILED',
      what: expect.stringMatching(/ended with 4.*no such module/s) as string,
    });
  });

  it.each([
    ['unpacks to more than it says', bundleOf('1.4.0', soundProgram('1.4.0')), 10],
    ['lacks its list of files', bundleOf('1.4.0', soundProgram('1.4.0'), { FILES: '' }), 100_000],
    ['is cut off', bundleOf('1.4.0', soundProgram('1.4.0')).subarray(0, 150), 100_000],
  ])('and its bundle %s, nothing of it is left', async (_, bundle, unpackedBytes) => {
    const bad = publishAgent('1.4.0', bundle, unpackedBytes);
    bench.server.add(bad as unknown as Published);
    await order(bad);
    await nextMacrotask();
    await bench.settled();
    expect(state()?.lastOutcome?.error?.code).toBe('AGENT_BUNDLE_UNREADABLE');
    await bench.restart(launched());
    expect(readdirSync(join(stateDir, 'versions'))).toEqual([]);
  });

  it('and it has no bundle for this platform, it is refused', async () => {
    await bench.restart({ agentReleases: { runner: agent, platform: { ...platform, arch: 'arm64' } } });
    await order(newer);
    await nextMacrotask();
    await bench.settled();
    expect(state()?.lastOutcome).toMatchObject({ outcome: 'refused', error: { code: 'MANIFEST_NO_VARIANT' } });
  });

  it('and it is older than what the installer put there, the order is refused', async () => {
    writeSlots(stateDir, { ...slots(), committed: '2.0.0-0123456789ab' as SlotName });
    await order(newer);
    expect(bench.refusals.at(-1)?.error.code).toBe('DEPLOYMENT_ROLLBACK_REFUSED');
  });

  it('and no launcher started the agent, it says so before anything is fetched', async () => {
    await bench.restart();
    bench.server.requests.length = 0;
    await order(newer);
    await nextMacrotask();
    await bench.settled();
    expect(state()?.lastOutcome).toMatchObject({ outcome: 'fell-back', error: { code: 'AGENT_NOT_UPDATABLE' } });
    expect(bench.server.requests).toEqual([]);
  });
});
