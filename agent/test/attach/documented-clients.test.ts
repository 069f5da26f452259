import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { InstalledModel } from '../../src/update/ports.js';
import { installClassifier } from '../serve/installed-classifier.js';
import { until } from '../supervisor/agent-bench.js';
import { attachedDevice, type AttachedDevice } from './attached-device.js';

const page = readFileSync(new URL('../../../docs/attach.md', import.meta.url), 'utf8');
const signal = new AbortController().signal;

/** The first block of this language on the page. */
function block(language: string): string {
  const found = new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'm').exec(page)?.[1];
  if (found === undefined) throw new Error(`docs/attach.md has no block of ${language}.`);
  return found;
}

interface Language {
  readonly name: string;
  /** Program that has to be there. */
  readonly needs: string;
  /** Makes the program of the page in the folder; its command. */
  readonly build: (folder: string) => readonly [string, ...string[]];
}

const LANGUAGES: readonly Language[] = [
  {
    name: 'python',
    needs: 'python3',
    build(folder) {
      const file = join(folder, 'client.py');
      writeFileSync(file, block('python'));
      return ['python3', file];
    },
  },
  {
    name: 'c',
    needs: 'gcc',
    build(folder) {
      const file = join(folder, 'client.c');
      writeFileSync(file, block('c'));
      const program = join(folder, 'client');
      execFileSync('gcc', ['-std=gnu11', '-Wall', '-Wextra', '-Werror', '-O1', '-o', program, file]);
      return [program];
    },
  },
];
const catchesHangUp = (pid: number): boolean => {
  const caught = /^SigCgt:\s+([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '0';
  return (BigInt(`0x${caught}`) & 1n) === 1n;
};
const isHere = (program: string): boolean => spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0;

describe.each(LANGUAGES)('the client of docs/attach.md in $name', ({ name, needs, build }) => {
  let device: AttachedDevice;
  let first: InstalledModel;
  let second: InstalledModel;
  let client: ChildProcess | undefined;
  beforeEach(async () => {
    device = attachedDevice();
    first = await installClassifier({ directory: join(device.folder, 'first') });
    second = await installClassifier({ directory: join(device.folder, 'second'), seed: 2, version: '1.1.0' });
  });
  afterEach(async () => {
    client?.kill('SIGKILL');
    await device.close();
  });

  // Where it cannot run, the report names what is missing.
  it.skipIf(!isHere(needs))(
    `when ${needs} is there, it loads what it is given, observes it, and goes without a crash`,
    async () => {
      const serving = await device.open();
      const [command, ...args] = build(device.folder);
      const started = (client = spawn(command, [...args, device.path, device.socket, 'classifier'], {
        stdio: ['ignore', 'inherit', 'inherit'],
      }));
      writeFileSync(device.pidFile, String(started.pid));
      // Before it has said what it does at a hang-up, it would end of it.
      await until(() => catchesHangUp(started.pid ?? 0));
      const exited = new Promise((resolve) => started.once('exit', (code, killedBy) => resolve(killedBy ?? code)));
      const observed = (release: InstalledModel['release']) =>
        device.recorder.records.filter((record) => record.release.digest === release.digest);

      await expect(serving.activate(first, signal, 'keep')).resolves.toMatchObject({
        loaded: first.loaded,
        provider: { actual: name },
      });
      await until(() => observed(first.release).length >= 2);
      await serving.activate(second, signal, 'keep');
      await until(() => observed(second.release).length >= 2);
      const [record] = observed(second.release);
      expect(Array.from(record?.features?.values ?? [])).toEqual([1, 2, 3, 4]);
      expect([record?.predictions?.classes[0], record?.predictions?.confidences[0]?.toFixed(1)]).toEqual([1, '0.9']);
      if (name === 'python')
        await until(() => device.recorder.labels.some(({ requestId }) => requestId === record?.requestId));

      started.kill('SIGTERM');
      expect(await exited).toBe(0);
      await until(() => serving.running(first.model) === undefined);
      expect(serving.health(first.model).crashes).toBe(0);
      expect(device.incidents).toEqual([]);
    },
  );
});
