import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Type } from 'typebox';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSavedRun } from '../../src/chaos/saved-run.js';

const content = Type.Object({ kills: Type.Integer() });
let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'drover-saved-run-'));
  file = join(folder, 'run.json');
});
afterEach(() => rmSync(folder, { recursive: true }));

const open = ({ trial = 'chaos', seed = 1 } = {}) => openSavedRun(file, { trial, settings: { seed }, content });

describe('when an interrupted run is gone on with', () => {
  it('goes on from what was kept, and from nothing where there is no file', () => {
    const run = open();
    expect(run.content).toBeUndefined();
    run.keep({ kills: 7 });
    expect(open().content).toEqual({ kills: 7 });
  });

  it.each([
    { what: 'another trial', how: { trial: 'powercut' }, why: 'It holds a run of "chaos", and this is "powercut".' },
    { what: 'another seed', how: { seed: 2 }, why: 'It was begun with 1 for --seed, and this has 2.' },
  ])('refuses a run of $what', ({ how, why }) => {
    open().keep({ kills: 7 });
    expect(() => open(how)).toThrow(expect.objectContaining({ code: 'SAVED_RUN_DIFFERENT', message: why }));
  });

  it.each([
    { what: 'no JSON', text: '{"format":1,"tri' },
    { what: 'a tally of before the format was written', text: '{"tally":{"kills":7}}' },
    { what: 'figures that are none', text: '{"format":1,"trial":"chaos","settings":{"seed":1},"content":{}}' },
  ])('refuses $what', ({ text }) => {
    writeFileSync(file, text);
    expect(() => open()).toThrow(expect.objectContaining({ code: 'SAVED_RUN_UNREADABLE', where: file }));
  });
});

const sim = join(fileURLToPath(import.meta.resolve('@drover/sim/package.json')), '..', 'dist');
const run = (script: string, ...args: string[]) =>
  spawnSync(process.execPath, [join(sim, script), ...args], { encoding: 'utf8', timeout: 20_000 });

describe('when a trial is asked wrongly', () => {
  it('ends with status 2 before anything is killed, and leaves the file of another trial as it is', () => {
    const counts = { kills: 500, survived: 0, episodes: 1, bricked: 0, lies: 0, stuck: 0 };
    const kept = { tally: { seed: 1, ...counts }, catalogue: { moments: {}, misses: {} } };
    const device = { format: 1, trial: 'chaos --target device', settings: { seed: 1 }, content: kept };
    writeFileSync(file, JSON.stringify(device));
    const { status, stderr } = run('chaos/main.js', '--target', 'control-plane', '--kills', '10', '--resume', file);
    expect({ status, stderr }).toEqual({
      status: 2,
      stderr: expect.stringContaining('SAVED_RUN_DIFFERENT: It holds a run of "chaos --target device"') as string,
    });
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(device);
  });

  it.each(['{}', '[]', '[{"scenario":"first"}]', 'x'])('repeats no episode that is none: %s', (text) => {
    writeFileSync(file, text);
    const { status, stdout, stderr } = run('chaos/main.js', '--replay', file);
    const unreadable = expect.stringContaining('EPISODE_UNREADABLE') as string;
    expect({ status, stdout, stderr }).toEqual({ status: 2, stdout: '', stderr: unreadable });
  });

  it.each([
    ['chaos/main.js', ['--target', 'control-plane', '--workers', '2']],
    ['chaos/main.js', ['--target', 'control-plane', '--replay', 'there.json']],
    ['chaos/main.js', ['--replay', 'there.json', '--kills', '3']],
    ['powercut/main.js', ['--each-sync', '--resume', 'there.json']],
    ['powercut/main.js', ['--each-sync', '--max-violations', '3']],
  ])('%s refuses %j: one of them would do nothing', (script, args) => {
    const { status, stderr } = run(script, ...args);
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringContaining(args.at(-2) ?? '') as string });
  });
});
