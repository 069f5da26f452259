import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MODEL, openRecoveryWorld, type RecoveryWorld } from './recovery-world.js';

const signal = new AbortController().signal;
/** `recovered` catches up by the backup; what they ran when the control plane was lost is the law. */
const BEFORE = ['stays', 'newer', 'newest', 'reverted', 'away'];

let world: RecoveryWorld;
let backup: string;
let copies: string;
/** Of the control plane that was lost. */
let directorBefore: string;
beforeEach(async () => {
  world = await openRecoveryWorld(signal);
  [backup, copies] = [join(world.folder, 'backup'), join(world.folder, 'copies')];
});
afterEach(() => world.close());

const login = () =>
  world.drover(
    'login',
    world.controlPlane().httpUrl,
    '--token',
    world.controlPlane().adminToken,
    '--ca',
    join(world.controlPlane().dataDir, 'certificate-authority', '1.crt'),
  );

const directorKey = (): string => readFileSync(join(world.controlPlane().dataDir, 'director.key'), 'utf8');

/** The fleet as it was at the backup, and what happened to it afterwards, which the backup does not know. */
async function loseControlPlane(): Promise<Record<string, string>> {
  await login();
  await world.publisher.publish('1.0.0', { seed: 1 });
  await world.publisher.publish('1.1.0', { seed: 2 });
  for (const id of BEFORE) await world.start(id);
  await world.rollOut('1.0.0', BEFORE);
  await world.drover('backup', '--data-dir', world.controlPlane().dataDir, '--out', backup);

  await world.publisher.publish('1.2.0', { seed: 3 });
  await world.drover('repository', 'download', '--out', copies);
  await world.start('late');
  await world.rollOut('1.1.0', ['newer', 'away']);
  await world.rollOut('1.2.0', ['newest', 'late']);
  await world.rollOutAndRevert('1.1.0', 'reverted', '1.0.0');
  const runs = world.running();
  expect(runs).toEqual({
    stays: '1.0.0',
    newer: '1.1.0',
    newest: '1.2.0',
    reverted: '1.0.0',
    away: '1.1.0',
    late: '1.2.0',
  });
  await world.stop('away');
  directorBefore = directorKey();
  await world.destroy();
  return runs;
}

async function vouch(): Promise<void> {
  const request = join(world.folder, 'recovery.json');
  await world.drover('recovery', 'request', '--reason', 'the disk died', '--out', request);
  await world.drover('recovery', 'sign', request, '--key', world.rootKey);
  await world.drover('recovery', 'install', request);
}

const orders = () => world.audit('order.reissue');

/** Control planes, devices and a dozen commands, each a process of its own. */
describe('when a control plane is lost, and yesterday comes back', { timeout: 240_000 }, () => {
  it('the fleet is taken over as it is: nobody visits a device, nothing moves, and the next rollout reaches all', async () => {
    const runs = await loseControlPlane();
    const { away: _away, ...there } = runs;
    const quiet = world.troubles().length;
    await world.restore(backup);
    expect(directorKey()).toBe(directorBefore);
    await login();

    // The one that enrolled after the backup is let in by its certificate, and says what it is.
    await world.settled(Object.keys(there));
    expect(await world.audit('device.readmit')).toMatchObject([
      { subject: 'late', detail: { attributes: { line: 'line of late' }, hardwareClass: 'generic' } },
    ]);
    expect(await world.drover('recovery', 'show')).toContain('gives no orders');
    await expect(world.rollOut('1.1.0', ['stays'])).rejects.toMatchObject({ code: 'CONTROL_PLANE_REFUSED' });

    // What was published after the backup comes back from the publisher's copy, with the files.
    expect(await world.drover('repository', 'publish', copies)).toContain(`${MODEL} version 3`);
    await vouch();
    await world.start('away');
    const everybody = Object.keys(runs);
    await world.settled(everybody);
    await world.until('the fleet to be shown as it is', async () => {
      const shown = await world.shown();
      return everybody.every((id) => shown[id] === runs[id]);
    });
    expect(world.running()).toEqual(runs);
    expect(await orders()).toEqual([]);

    await world.publisher.publish('1.3.0', { seed: 4 });
    await world.rollOut('1.3.0', everybody);
    expect(new Set(Object.values(world.running()))).toEqual(new Set(['1.3.0']));
    expect(world.troubles().slice(quiet)).toEqual([]);
    expect(await world.audit('recovery.begin')).toHaveLength(1);
    expect(await world.audit('recovery.end')).toMatchObject([{ detail: { reason: 'the disk died' } }]);
    expect(await world.drover('audit', 'verify')).toMatch(/holds|intact|unbroken/i);
  });

  it('the same with a new director, and where what was published since is given up by new online keys', async () => {
    const runs = await loseControlPlane();
    const { away: _away, ...there } = runs;
    const quiet = world.troubles().length;
    await world.restore(backup, ['--new-director-key']);
    await login();
    expect(directorKey()).not.toBe(directorBefore);
    await world.settled(Object.keys(there));
    await world.drover('keys', 'rotate', 'online', '--key', world.rootKey, '--publish');
    await vouch();
    await world.start('away');
    await world.settled(Object.keys(runs));
    expect(world.running()).toEqual(runs);

    // 1.2.0 is no release any more: those that run it go on, until they are ordered something else.
    await world.publisher.forget();
    await world.publisher.publish('1.3.0', { seed: 4 });
    await world.rollOut('1.3.0', Object.keys(runs));
    expect(new Set(Object.values(world.running()))).toEqual(new Set(['1.3.0']));
    expect(world.troubles().slice(quiet)).toEqual([]);
    expect(await orders()).toEqual([]);
    expect(await world.audit('recovery.begin')).toHaveLength(2);
  });
});
