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

  it('asks for what a task needs and the model does not tell, and takes it by the options', async () => {
    const words = ['model', 'publish', 'net.onnx', '--model', 'odd', '--version', '1.0.0', '--task', 'anomaly'];
    const asked = await running.drover([...words, '--scores', 'probabilities']);
    expect([asked.code, asked.stderr.split(':')[0]]).toEqual([1, 'CLI_TASK_UNCLEAR']);
    expect(asked.stderr).toContain('--threshold <number>, --anomalous <above|below>');
    const said = ['--scores', 'probabilities', '--threshold', '0.5', '--anomalous', 'below', '--agreement', '0.9'];
    const published = await running.drover([...words, ...said]);
    expect(published.code, published.stderr).toBe(0);
    const { manifest } = await running.droverJson<{ manifest: Manifest }>('model', 'show', 'odd@1.0.0');
    expect(manifest.task).toEqual({
      type: 'anomaly',
      anomaly: { score: 'probabilities', threshold: 0.5, anomalous: 'below' },
    });
    expect(manifest.contract.agreement).toBe(0.9);
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

  it('signs the contract of the inputs with it, where it fits the model', async () => {
    const contract = (column: string) => ({
      action: 'reject',
      inputs: [{ name: 'features', features: ['t', 'p', 'h'], rules: [{ rule: 'range', column, min: -9 }] }],
    });
    writeFileSync(file('contract.json'), JSON.stringify(contract('p')));
    expect((await publish('1.2.0', '--contract', 'contract.json')).code).toBe(0);
    const { manifest } = await running.droverJson<{ manifest: Manifest }>('model', 'show', 'sum@1.2.0');
    expect(manifest.contract.inputs).toEqual(contract('p'));
    writeFileSync(file('contract.json'), JSON.stringify(contract('x')));
    const refused = await publish('1.3.0', '--contract', 'contract.json');
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('the column "x", which is not among')]);
    writeFileSync(file('contract.json'), '{"action":"beg"}');
    expect((await publish('1.3.0', '--contract', 'contract.json')).stderr).toContain('/action must be one of');
  });

  it('takes the rules of a suite of Great Expectations, by themselves or beside a contract', async () => {
    const present = { type: 'expect_column_values_to_not_be_null', kwargs: { column: 'humidity' } };
    const unknown = { type: 'expect_column_values_to_be_unique', kwargs: { column: 'humidity' } };
    const write = (...expectations: object[]) =>
      writeFileSync(file('suite.json'), JSON.stringify({ name: 'inputs', expectations }));
    write(present);
    const features = ['--features', 'temperature,pressure,humidity'];
    expect((await publish('1.4.0', '--expectations', 'suite.json', ...features)).code).toBe(0);
    const inputsOf = async (version: string) =>
      (await running.droverJson<{ manifest: Manifest }>('model', 'show', `sum@${version}`)).manifest.contract.inputs;
    const rule = { rule: 'present', column: 'humidity' };
    const names = ['temperature', 'pressure', 'humidity'];
    expect(await inputsOf('1.4.0')).toEqual({
      action: 'record',
      inputs: [{ name: 'features', features: names, rules: [rule] }],
    });
    write(present, unknown);
    const refused = await publish('1.5.0', '--expectations', 'suite.json', ...features);
    expect([refused.code, refused.stderr.split(':')[0]]).toEqual([1, 'CLI_EXPECTATIONS_UNSUPPORTED']);
    const contract = { action: 'reject', inputs: [{ name: 'features', rules: [{ rule: 'range', min: -99 }] }] };
    writeFileSync(file('contract.json'), JSON.stringify(contract));
    const both = ['--contract', 'contract.json', '--expectations', 'suite.json', '--skip-unsupported'];
    // The names are those of the samples.
    const lenient = await publish(
      '1.5.0',
      ...both,
      '--samples',
      'normal.csv',
      '--window',
      '50',
      '--false-alarms',
      '0.01',
    );
    expect([lenient.code, lenient.stderr]).toEqual([0, expect.stringContaining('Left out of the contract: expect_column_values_to_be_unique')]); // prettier-ignore
    expect(await inputsOf('1.5.0')).toEqual({
      action: 'reject',
      inputs: [{ name: 'features', features: names, rules: [{ rule: 'range', min: -99 }, rule] }],
    });
    expect((await publish('1.6.0', '--features', 'a')).code).toBe(2);
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
    expect(JSON.parse(list.stdout)).toMatchObject({ items: [{ model: 'odd' }, { model: 'other' }, { model: 'sum' }] });
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
      'trial start',
      'trial list',
      'trial show',
      'trial end',
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
