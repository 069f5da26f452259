import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Manifest } from '@drover/shared/manifest';
import { ADMIN_TOKEN, startControlPlaneProcess, type RunningControlPlane } from '../control-plane-process.js';
import { LABELS, samplesCsv, sumClassifier } from './classifier.js';

let running: RunningControlPlane;
const file = (name: string) => join(running.directory, name);

beforeAll(async () => {
  running = await startControlPlaneProcess();
  // Commands take file names relative to where the user is.
  process.chdir(running.directory);
  writeFileSync(file('net.onnx'), sumClassifier());
  writeFileSync(file('normal.csv'), samplesCsv(400, 1));
  writeFileSync(file('held-out.csv'), samplesCsv(100, 2, 10));
  await running.drover(['login', running.httpUrl, '--token', ADMIN_TOKEN]);
});
afterAll(async () => {
  process.chdir('/');
  await running.stop();
});

const publish = (version: string, ...more: string[]) =>
  running.drover([
    'model',
    'publish',
    'net.onnx',
    '--model',
    'sum',
    '--version',
    version,
    '--labels',
    LABELS.join(','),
    ...more,
  ]);

describe('when somebody logs in', () => {
  it('checks the token and saves it for this user alone', async () => {
    const saved = join(running.directory, 'config', 'drover', 'credentials.json');
    expect(JSON.parse(readFileSync(saved, 'utf8'))).toEqual({ url: running.httpUrl, token: ADMIN_TOKEN });
    expect(statSync(saved).mode & 0o777).toBe(0o600);
    const wrong = await running.droverProcess(['login', running.httpUrl, '--token', 'wrong']);
    expect([wrong.code, wrong.stderr.split(':')[0]]).toEqual([1, 'AUTH_INVALID']);
    expect(JSON.parse(readFileSync(saved, 'utf8'))).toMatchObject({ token: ADMIN_TOKEN });
  });

  it('prefers the environment, and never sends a saved token to another control plane', async () => {
    const wrong = await running.drover(['model', 'list'], { DROVER_TOKEN: 'wrong' });
    expect([wrong.code, wrong.stderr.split(':')[0]]).toEqual([1, 'AUTH_INVALID']);
    const elsewhere = await running.drover(['model', 'list', '--control-plane', 'http://127.0.0.1:1']);
    expect([elsewhere.code, elsewhere.stderr.split(':')[0]]).toEqual([1, 'CLI_NOT_LOGGED_IN']);
    const nobody = await running.drover(['model', 'list'], { DROVER_URL: 'http://127.0.0.1:1', DROVER_TOKEN: 'any' });
    expect([nobody.code, nobody.stderr.split(':')[0]]).toEqual([1, 'CLI_UNREACHABLE']);
  });
});

describe('when a model is published', () => {
  it('makes contract, golden vectors, profile and thresholds by running it', async () => {
    const published = await publish(
      '1.0.0',
      '--samples',
      'normal.csv',
      '--held-out',
      'held-out.csv',
      '--window',
      '50',
      '--false-alarms',
      '0.01',
    );
    expect(published.code, published.stderr).toBe(0);
    expect(published.stderr).toContain('uploaded');
    // The first one begins the repository, and says loudly by what key.
    expect(published.stderr).toContain('WARNING: DEVELOPMENT KEY');
    expect(published.stderr).toContain('drover keys init');
    expect(published.stdout).toContain('drover keys export root.json');
    const { manifest } = await running.droverJson<{ manifest: Manifest }>('model', 'show', 'sum@1.0.0');
    expect(manifest.task).toEqual({ type: 'classification', scores: 'probabilities', labels: LABELS });
    // Every tenth held-out label is wrong on purpose, and the classifier is right about all the others.
    expect(manifest.contract.heldOut).toEqual({ accuracy: 0.9, rows: 100 });
    expect(manifest.variants[0]?.signature.inputs).toEqual([{ name: 'features', datatype: 'FP32', shape: [-1, 3] }]);
    expect(manifest.drift).toMatchObject({ windowSize: 50, features: 3, referenceRows: 400 });
    expect(manifest.assets.map(({ kind }) => kind)).toEqual(['anchor', 'replay']);
    expect(manifest.lineage.data.map(({ name, rows }) => [name, rows])).toEqual([
      ['normal.csv', 400],
      ['held-out.csv', 100],
    ]);
  });

  it('refuses labels that no output has scores for, before anything is uploaded', async () => {
    const refused = await running.drover([
      ...['model', 'publish', 'net.onnx', '--model', 'sum', '--version', '9.0.0'],
      ...['--labels', [...LABELS, 'one-too-many'].join(',')],
    ]);
    expect([refused.code, refused.stderr.split(':')[0]]).toEqual([1, 'CLI_LABELS_UNFIT']);
    const absent = await running.drover(['model', 'show', 'sum@9.0.0']);
    expect([absent.code, absent.stderr.split(':')[0]]).toEqual([1, 'RELEASE_UNKNOWN']);
  });

  it('continues a parent, and answers with JSON', async () => {
    const parent = await running.droverJson<{ digest: string }>('model', 'show', 'sum@1.0.0');
    const published = await publish('1.1.0', '--parent', '1.0.0', '--json');
    expect(JSON.parse(published.stdout)).toMatchObject({ model: 'sum', version: '1.1.0' });
    const { manifest } = await running.droverJson<{ manifest: Manifest }>('model', 'show', 'sum@1.1.0');
    expect(manifest.lineage.parent).toBe(parent.digest);
    const list = await running.drover(['model', 'show', 'sum']);
    expect(list.stdout.split('\n').map((line) => line.split(' ')[0])).toEqual(['VERSION', '1.0.0', '1.1.0', '']);
  });

  it('says what is wrong with files, versions and samples', async () => {
    writeFileSync(file('letter.onnx'), 'Dear model,');
    const base = ['--model', 'sum', '--version', '2.0.0'];
    expect((await running.drover(['model', 'publish', 'letter.onnx', ...base])).stderr).toContain('ONNX_NOT_A_MODEL');
    expect((await running.drover(['model', 'publish', 'missing.onnx', ...base])).stderr).toContain(
      'CLI_FILE_UNREADABLE',
    );
    expect((await publish('1.0.0')).stderr).toContain('RELEASE_EXISTS');
    expect((await publish('1.x')).stderr).toContain('ID_INVALID');
    writeFileSync(file('wide.csv'), 'a,b,c,d\n1,2,3,4\n');
    expect((await publish('2.0.0', '--samples', 'wide.csv')).stderr).toContain('CLI_SAMPLES_UNFIT');
    writeFileSync(file('words.csv'), 'a,b,c\n1,two,3\n');
    expect((await publish('2.0.0', '--samples', 'words.csv')).stderr).toContain('row 2, "b": "two" is no number');
    expect((await running.drover(['model', 'publish'])).code).toBe(2);
  });

  it('begins a second model with the same development key, and leaves a repository of others alone', async () => {
    const base = ['model', 'publish', 'net.onnx', '--version', '1.0.0'];
    expect((await running.drover([...base, '--model', 'other'])).code).toBe(0);
    const elsewhere = await running.drover([...base, '--model', 'third'], {
      XDG_CONFIG_HOME: file('another-user'),
      DROVER_URL: running.httpUrl,
      DROVER_TOKEN: ADMIN_TOKEN,
    });
    expect([elsewhere.code, elsewhere.stderr.includes('CLI_USAGE')]).toEqual([2, true]);
  });
});

describe('when the fleet is looked at', () => {
  it('lists devices, makes claim tokens, and says that there is nobody to roll out to', async () => {
    expect(await running.droverJson('device', 'list')).toEqual({ items: [] });
    const created = await running.droverJson<{ claimToken: string }>(
      'device',
      'token',
      'create',
      '--site',
      'lab',
      '--ttl',
      '1h',
    );
    expect(created.claimToken).toMatch(/^claim_/);
    const unknown = await running.drover(['device', 'show', 'cam-01']);
    expect([unknown.code, unknown.stderr.split(':')[0]]).toEqual([1, 'DEVICE_UNKNOWN']);
    const empty = await running.drover(['rollout', 'create', 'sum@1.0.0', '--stages', 'all:100%']);
    expect([empty.code, empty.stderr.split(':')[0]]).toEqual([1, 'ROLLOUT_NO_DEVICES']);
    expect(await running.droverJson('rollout', 'list')).toEqual({ items: [] });
  });

  it('refuses to destroy without consent', async () => {
    const made = await running.droverJson<{ id: string }>(
      'token',
      'create',
      '--name',
      'short-lived',
      '--role',
      'viewer',
    );
    const silent = await running.drover(['token', 'delete', made.id]);
    expect([silent.code, silent.stderr.split(':')[0]]).toEqual([1, 'CLI_NEEDS_CONSENT']);
    expect((await running.drover(['token', 'list'])).stdout).toContain('short-lived');
    expect((await running.drover(['token', 'delete', made.id, '--yes'])).code).toBe(0);
    expect((await running.drover(['token', 'list'])).stdout).not.toContain('short-lived');
  });

  it('shows and verifies the audit log, and finds everything well', async () => {
    expect((await running.drover(['audit'])).stdout).toContain('repository.publish');
    expect((await running.drover(['audit', 'verify'])).stdout).toMatch(/^All \d+ entries are intact/);
    const doctor = await running.drover(['doctor']);
    expect(doctor.stdout, doctor.stdout).not.toContain('BAD');
    expect(doctor.code).toBe(0);
    const lost = await running.drover(['doctor'], { DROVER_URL: 'http://127.0.0.1:1', DROVER_TOKEN: 'x' });
    expect(lost.code).toBe(1);
    expect(lost.stdout).toContain('BAD  control plane');
  });
});

describe('when it runs as a process', () => {
  it('answers on the output, refuses on the error output, and exits by what happened', async () => {
    const list = await running.droverProcess(['model', 'list', '--json']);
    expect([list.code, list.stderr]).toEqual([0, '']);
    expect(JSON.parse(list.stdout)).toMatchObject({ items: [{ model: 'other' }, { model: 'sum' }] });
    const version = await running.droverProcess(['--version']);
    expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    const refused = await running.droverProcess(['model', 'show', 'nothing', '--json']);
    expect([refused.code, (JSON.parse(refused.stdout) as { error: { code: string } }).error.code]).toEqual([
      1,
      'MODEL_UNKNOWN',
    ]);
    expect((await running.droverProcess(['surprise'])).code).toBe(2);
  });
});

describe('when a command line is wrong', () => {
  it.each([
    [['surprise']],
    [['model', 'publish', '--surprise']],
    [['device', 'token', 'create', '--ttl', 'soon']],
    [['rollout', 'create', 'sum', '--stages', 'all:100%']],
    [['rollout', 'create', 'sum@1.0.0', '--stages', 'some']],
    [['token', 'create', '--name', 'x', '--role', 'emperor']],
    [['login', 'not a url', '--token', 'x']],
  ])('exits with 2: %j', async (args) => {
    const { code, stderr } = await running.drover(args);
    expect([code, stderr.length > 0]).toEqual([2, true]);
  });

  it('shows an example for every command', async () => {
    const commands = [
      'login',
      'doctor',
      'keys create',
      'keys public',
      'keys init',
      'keys delegate',
      'keys rotate',
      'keys revoke',
      'keys renew',
      'keys sign',
      'keys publish',
      'keys show',
      'keys export',
      'model publish',
      'model list',
      'model show',
      'device list',
      'device show',
      'device token create',
      'rollout create',
      'rollout list',
      'rollout show',
      'rollout watch',
      'rollout pause',
      'rollout resume',
      'rollout abort',
      'rollout events',
      'token create',
      'token list',
      'token delete',
      'audit list',
      'audit verify',
    ];
    for (const command of commands) {
      const { code, stdout } = await running.drover([...command.split(' '), '--help']);
      expect([command, code]).toEqual([command, 0]);
      expect(stdout, command).toMatch(/Examples?:\n {2}drover /);
    }
  });
});
