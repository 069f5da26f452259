import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADMIN_TOKEN, startControlPlaneProcess, type Ran, type RunningControlPlane } from '../control-plane-process.js';
import { sumClassifier } from './classifier.js';

let running: RunningControlPlane;
const file = (name: string) => join(running.directory, name);
const PASSPHRASE = { DROVER_KEY_PASSPHRASE: 'correct horse battery staple' };

const drover = (...args: string[]): Promise<Ran> => running.drover(args, PASSPHRASE);
const idOf = (name: string) => (JSON.parse(readFileSync(file(`${name}.key`), 'utf8')) as { keyId: string }).keyId;
const json = async <Answer>(...args: string[]): Promise<Answer> => {
  const { code, stdout, stderr } = await drover(...args, '--json');
  expect(code, `${args.join(' ')}: ${stdout}${stderr}`).toBe(0);
  return JSON.parse(stdout) as Answer;
};
const codeOf = ({ stdout, stderr }: Ran) => /^[A-Z]+_[A-Z_]+(?=:)/m.exec(stderr + stdout)?.[0];
interface Role {
  readonly role: string;
  readonly version: number;
  readonly threshold: number;
  readonly keyIds: readonly string[];
}
const roleOf = async (name: string): Promise<Role | undefined> =>
  (await json<{ roles: Role[] }>('keys', 'show')).roles.find(({ role }) => role === name);

/** Opening a sealed key takes 128 MiB and most of a second, so that only two of them are. */
const PEOPLE = {
  alice: '--passphrase-file',
  bob: '--passphrase-file',
  carol: '--development',
  dave: '--development',
  erin: '--development',
};

beforeAll(async () => {
  running = await startControlPlaneProcess();
  process.chdir(running.directory);
  writeFileSync(file('net.onnx'), sumClassifier());
  writeFileSync(file('passphrase.txt'), `${PASSPHRASE.DROVER_KEY_PASSPHRASE}\n`);
  await running.drover(['login', running.httpUrl, '--token', ADMIN_TOKEN]);
  for (const [name, how] of Object.entries(PEOPLE)) {
    const more = how === '--development' ? [how] : [how, 'passphrase.txt'];
    const made = await running.drover(['keys', 'create', '--out', `${name}.key`, '--name', name, ...more]);
    expect(made.code, made.stderr).toBe(0);
    writeFileSync(file(`${name}.public.json`), (await running.drover(['keys', 'public', `${name}.key`])).stdout);
  }
});
afterAll(async () => {
  process.chdir('/');
  await running.stop();
});

describe('when keys are made', () => {
  it('seals them for their owner alone, and never over another file', async () => {
    expect(statSync(file('alice.key')).mode & 0o777).toBe(0o600);
    const text = readFileSync(file('alice.key'), 'utf8');
    expect(text).not.toContain('"seed"');
    expect(codeOf(await drover('keys', 'create', '--out', 'alice.key'))).toBe('CLI_FILE_EXISTS');
    expect(readFileSync(file('alice.key'), 'utf8')).toBe(text);
    expect(codeOf(await running.drover(['keys', 'create', '--out', 'nobody.key']))).toBe('CLI_PASSPHRASE_NEEDED');
    const weak = await running.drover(['keys', 'create', '--out', 'weak.key'], { DROVER_KEY_PASSPHRASE: '12345' });
    expect(codeOf(weak)).toBe('KEY_PASSPHRASE_WEAK');
    expect([existsSync(file('nobody.key')), existsSync(file('weak.key'))]).toEqual([false, false]);
  });

  it('warns of one that lies in the clear', async () => {
    const made = await running.drover(['keys', 'create', '--out', 'trial.key', '--development']);
    expect(made.code).toBe(0);
    expect(made.stderr).toContain('WARNING: DEVELOPMENT KEY');
    expect(made.stderr).toContain('drover keys create');
  });
});

describe('a repository that several people hold', () => {
  it('begins with a root that two of two sign, each alone and without a network', async () => {
    expect(codeOf(await drover('keys', 'show'))).toBe('REPOSITORY_MISSING');
    const init = await json<{ complete: boolean; missing: { role: string; missing: number }[] }>(
      ...['keys', 'init', '--root-key', 'alice.public.json', '--root-key', 'bob.public.json', '--root-threshold', '2'],
      ...['--targets-key', 'carol.public.json', '--out', 'first.json'],
    );
    expect(init.complete).toBe(false);
    expect(init.missing.map(({ role, missing }) => [role, missing])).toEqual([
      ['root', 2],
      ['targets', 1],
    ]);
    const offline = (...args: string[]) =>
      running.drover(args, { ...PASSPHRASE, DROVER_URL: 'http://127.0.0.1:1', DROVER_TOKEN: 'x' });
    expect((await offline('keys', 'sign', 'first.json', '--key', 'alice.key')).code).toBe(0);
    expect(codeOf(await drover('keys', 'publish', 'first.json'))).toBe('CLI_SIGNATURES_MISSING');
    expect(codeOf(await drover('keys', 'export', 'early.json', '--from', 'first.json'))).toBe('CLI_SIGNATURES_MISSING');
    // A signature twice is still one.
    expect((await offline('keys', 'sign', 'first.json', '--key', 'alice.key')).code).toBe(0);
    expect(codeOf(await drover('keys', 'publish', 'first.json'))).toBe('CLI_SIGNATURES_MISSING');
    expect(codeOf(await offline('keys', 'sign', 'first.json', '--key', 'dave.key'))).toBe('CLI_KEY_NOT_ASKED_FOR');
    const wrong = await running.drover(['keys', 'sign', 'first.json', '--key', 'bob.key'], {
      DROVER_KEY_PASSPHRASE: 'not the passphrase',
    });
    expect(codeOf(wrong)).toBe('KEY_PASSPHRASE_WRONG');
    expect((await offline('keys', 'sign', 'first.json', '--key', 'bob.key', '--out', 'second.json')).code).toBe(0);
    const shown = await offline('keys', 'show', 'second.json');
    expect(shown.stdout).toContain('root: 2 of');
    expect(shown.stdout).toContain(`open: ${idOf('carol').slice(0, 12)}`);
    expect((await offline('keys', 'sign', 'second.json', '--key', 'carol.key')).code).toBe(0);
    expect((await drover('keys', 'publish', 'second.json')).code).toBe(0);
    expect(await roleOf('root')).toMatchObject({ version: 1, threshold: 2, keyIds: [idOf('alice'), idOf('bob')] });
    expect((await drover('keys', 'export', 'root.json', '--from', 'second.json')).code).toBe(0);
    expect((await drover('keys', 'export', 'root-again.json')).code).toBe(0);
    const root = (name: string) => JSON.parse(readFileSync(file(name), 'utf8')) as { signed: unknown };
    expect(root('root-again.json').signed).toEqual(root('root.json').signed);
    expect(codeOf(await drover('keys', 'init', '--root-key', 'alice.key', '--targets-key', 'alice.key'))).toBe(
      'CLI_USAGE',
    );
  });

  it('delegates a model to two of two, whose releases need both', async () => {
    const publish = ['model', 'publish', 'net.onnx', '--model', 'sum', '--version', '1.0.0', '--key', 'dave.key'];
    expect(codeOf(await drover(...publish))).toBe('REPOSITORY_DOCUMENT_REFUSED');
    const delegated = await drover(
      ...[
        'keys',
        'delegate',
        'sum',
        '--model-key',
        'dave.public.json',
        '--model-key',
        'erin.public.json',
        '--threshold',
        '2',
      ],
      ...['--key', 'carol.key', '--publish'],
    );
    expect(delegated.code, delegated.stderr).toBe(0);
    const proposed = await json<{ published: boolean; file: string }>(...publish);
    expect(proposed).toMatchObject({ published: false, file: 'sum-1.0.0.proposal.json' });
    expect(codeOf(await drover('model', 'show', 'sum'))).toBe('MODEL_UNKNOWN');
    expect((await drover('keys', 'show', proposed.file)).stdout).toContain('sum/1.0.0.json');
    expect(codeOf(await drover('model', 'publish', '--signed', proposed.file))).toBe('CLI_SIGNATURES_MISSING');
    expect((await drover('keys', 'sign', proposed.file, '--key', 'erin.key')).code).toBe(0);
    expect((await drover('model', 'publish', '--signed', proposed.file)).code).toBe(0);
    expect((await drover('model', 'show', 'sum')).stdout).toContain('1.0.0');
    // What was published once is no next version any more.
    expect(codeOf(await drover('model', 'publish', '--signed', proposed.file))).toBe('REPOSITORY_VERSION_WRONG');
  });

  it('rotates a model, root and the online key, and revokes a key everywhere', async () => {
    const rotated = await drover(
      ...[
        'keys',
        'rotate',
        'sum',
        '--remove',
        idOf('erin').slice(0, 10),
        '--threshold',
        '1',
        '--key',
        'carol.key',
        '--key',
        'dave.key',
        '--publish',
      ],
    );
    expect(rotated.code, rotated.stderr).toBe(0);
    expect(await roleOf('sum')).toMatchObject({ version: 2, threshold: 1, keyIds: [idOf('dave')] });

    const root = await drover(
      ...['keys', 'rotate', 'root', '--add', 'erin.public.json', '--key', 'alice.key', '--key', 'bob.key', '--publish'],
    );
    expect(root.code, root.stderr).toBe(0);
    expect(await roleOf('root')).toMatchObject({ version: 2, threshold: 2 });

    const before = await roleOf('timestamp');
    expect((await drover('keys', 'rotate', 'online', '--key', 'alice.key', '--key', 'bob.key', '--publish')).code).toBe(
      0,
    );
    expect((await roleOf('timestamp'))?.keyIds).not.toEqual(before?.keyIds);

    // Bob leaves: alice and erin suffice for the new root, but the old one asks for two of alice, bob and erin.
    const revoked = await drover('keys', 'revoke', 'bob.key', '--key', 'alice.key', '--key', 'erin.key', '--publish');
    expect(revoked.code, revoked.stderr).toBe(0);
    expect((await roleOf('root'))?.keyIds).toEqual([idOf('alice'), idOf('erin')]);
    expect(codeOf(await drover('keys', 'revoke', 'bob.key'))).toBe('CLI_USAGE');
    expect(codeOf(await drover('keys', 'revoke', 'erin.key'))).toBe('CLI_KEYS_BELOW_THRESHOLD');
  });

  it('renews roles, says how long they hold, and is found well by the doctor', async () => {
    const renewed = await drover(
      'keys',
      'renew',
      'targets',
      'sum',
      '--expires',
      '20d',
      '--key',
      'carol.key',
      '--key',
      'dave.key',
      '--publish',
    );
    expect(renewed.code, renewed.stderr).toBe(0);
    const doctor = await drover('doctor');
    expect(doctor.code).toBe(1);
    expect(doctor.stdout).toContain('REPOSITORY_ROLE_EXPIRING');
    expect(doctor.stdout).toContain('drover keys renew');
    expect((await drover('keys', 'show')).stdout).toMatch(/targets .* 19 +expiring/);
    expect(
      (await drover('keys', 'renew', 'targets', 'sum', '--key', 'carol.key', '--key', 'dave.key', '--publish')).code,
    ).toBe(0);
    const well = await drover('doctor');
    expect(well.stdout, well.stdout).not.toContain('BAD');
  });

  it('copies what was published, withdraws a release, and publishes a copy only where something is missing', async () => {
    const copied = await json<{ roles: { role: string }[]; files: number }>(
      'repository',
      'download',
      '--out',
      'copies',
    );
    expect(copied.roles.filter(({ role }) => role === 'root').length).toBeGreaterThan(2);
    expect(copied.files).toBeGreaterThan(1);
    expect(await json('repository', 'download', '--out', 'copies')).toMatchObject({ files: 0 });
    const backedUp = await drover('backup', '--data-dir', join(running.directory, 'data'), '--out', 'backup');
    expect(backedUp.code, backedUp.stderr).toBe(0);
    const fromBackup = await json('repository', 'download', '--backup', 'backup', '--out', 'copies-of-backup');
    expect(fromBackup).toEqual({ ...copied, out: 'copies-of-backup' });

    expect(codeOf(await drover('model', 'withdraw', 'sum@9.9.9'))).toBe('RELEASE_UNKNOWN');
    const [version] = (await json<{ items: { version: string }[] }>('model', 'show', 'sum')).items.map(
      (each) => each.version,
    );
    const withdrawn = await drover('model', 'withdraw', `sum@${version ?? ''}`, '--key', 'dave.key', '--publish');
    expect(withdrawn.code, withdrawn.stderr).toBe(0);
    expect((await drover('model', 'show', 'sum')).stdout).toContain(`${version ?? ''} (withdrawn)`);
    expect(codeOf(await drover('model', 'withdraw', `sum@${version ?? ''}`))).toBe('RELEASE_UNKNOWN');
    // The copy is older than what is there: nothing comes back by it.
    expect((await drover('repository', 'publish', 'copies')).stdout).toContain('has all');
  });

  it('is not signed for with a development key, whoever runs the trial', async () => {
    const trial = await running.drover(['model', 'publish', 'net.onnx', '--model', 'sum', '--version', '2.0.0']);
    expect([trial.code, codeOf(trial)]).toEqual([2, 'CLI_USAGE']);
  });
});
