import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const main = fileURLToPath(new URL('../../src/fuzzing/main.ts', import.meta.url));
const table = (name: string): string => fileURLToPath(new URL(`./${name}.ts`, import.meta.url));

interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly summary: Record<string, number>;
}

/** The command itself, in a process of its own, as `npm run fuzz` starts it. */
function fuzz(...args: readonly string[]): Promise<Run> {
  return new Promise((resolve) => {
    execFile(process.execPath, ['--import', 'tsx', main, ...args], (error, stdout) => {
      const last = stdout.trim().split('\n').at(-1) ?? '';
      const summary: Record<string, number> = {};
      for (const [, name = '', count] of last.matchAll(/(\w+)=(\d+)/g)) summary[name] = Number(count);
      resolve({ code: error ? Number(error.code) : 0, stdout, summary });
    });
  });
}

const findingsOf = ({ stdout }: Run, target: string): (string | undefined)[] =>
  stdout
    .split('\n')
    .filter((line) => line.includes(`--target ${target} `))
    .map((line) => line.trim().split(':')[0]);

describe('when the fuzzer meets parsers with faults', () => {
  it('counts each by its kind, survives it, and says how to repeat it', async () => {
    const run = await fuzz(
      '--table',
      table('planted-targets'),
      '--seconds',
      '10',
      '--memory-mib',
      '400',
      '--cpu-ms',
      '600000',
    );
    expect(run.code).toBe(1);
    expect(findingsOf(run, 'sound')).toEqual([]);
    for (const [target, kind] of [
      ['throws', 'crash'],
      ['dies', 'crash'],
      ['takes-memory', 'over-memory'],
      ['fills-the-heap', 'over-memory'],
    ] as const) {
      expect(new Set(findingsOf(run, target)), `${target}\n${run.stdout}`).toEqual(new Set([kind]));
    }
    const { cases = 0, crashes, hangs, overMemory } = run.summary;
    expect(crashes).toBe(findingsOf(run, 'throws').length + findingsOf(run, 'dies').length);
    expect(hangs).toBe(0);
    expect(overMemory).toBe(findingsOf(run, 'takes-memory').length + findingsOf(run, 'fills-the-heap').length);
    expect(cases).toBeGreaterThan(20);
    expect(run.stdout).toMatch(/npm run fuzz -- --target throws --seed 1 --from \d+/);
  }, 180_000);

  it('ends one that never returns, and goes on behind it', async () => {
    const run = await fuzz('--table', table('never-ending-target'), '--seconds', '6', '--hang-ms', '600');
    expect([run.code, run.summary['crashes'], run.summary['overMemory']]).toEqual([1, 0, 0]);
    expect(run.summary['hangs'], run.stdout).toBeGreaterThan(0);
    expect(run.summary['cases']).toBeGreaterThanOrEqual(run.summary['hangs'] ?? 0);
  }, 180_000);
});

describe('when the fuzzer meets a sound parser', () => {
  it('finds nothing and ends with its summary', async () => {
    const run = await fuzz('--target', 'deployment', '--seconds', '4');
    expect(run.summary).toEqual({ cases: expect.any(Number) as number, crashes: 0, hangs: 0, overMemory: 0 });
    expect([run.code, run.summary['cases']]).not.toEqual([0, 0]);
  }, 180_000);

  it('refuses the name of none', async () => {
    expect((await fuzz('--target', 'nothing')).code).toBe(2);
  }, 180_000);
});
