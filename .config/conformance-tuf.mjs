// npm run conformance:tuf [-- PYTEST ARGUMENTS]: drives our TUF client through the public tuf-conformance suite. The last line is pytest's.
// The suite's folder comes from TUF_CONFORMANCE_DIR, Python from PYTHON (or python3). CONTRIBUTING.md says how to get both.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const client = join(root, 'sim', 'dist', 'conformance', 'main.js');
const venv = join(root, 'node_modules', '.cache', 'tuf-conformance');

const say = (text) => process.stderr.write(`[conformance] ${text}\n`);
function fail(what, remedy) {
  say(`${what}\n              ${remedy}`);
  process.exit(1);
}
const outputOf = (command, args) => spawnSync(command, args, { encoding: 'utf8' });
const works = (command, args) => outputOf(command, args).status === 0;

// npm runs scripts in the root of the repository, and keeps in INIT_CWD where it was called.
const given = process.env.TUF_CONFORMANCE_DIR;
const suite = given && resolve(process.env.INIT_CWD ?? '.', given);
if (!suite || !existsSync(join(suite, 'tuf_conformance', 'conftest.py'))) {
  fail(
    suite ? `There is no tuf-conformance suite in ${suite}.` : 'TUF_CONFORMANCE_DIR is not set.',
    'git clone https://github.com/theupdateframework/tuf-conformance, and set TUF_CONFORMANCE_DIR to its folder.',
  );
}
if (!works('faketime', ['2030-01-01', 'true']))
  fail(
    'The suite moves the clock by the command `faketime`, which is not there.',
    'Debian and Ubuntu: apt-get install faketime',
  );

/** What the suite itself pins in pyproject.toml, such as tuf==7.0.0. */
const [, dependencies = ''] =
  /^dependencies = \[(.*?)^\]/ms.exec(readFileSync(join(suite, 'pyproject.toml'), 'utf8')) ?? [];
const pins = [...dependencies.matchAll(/"([^"]+)"/g)].map(([, pin]) => pin);
if (pins.length === 0) fail(`${suite}/pyproject.toml names no dependencies.`, 'Fetch the suite anew.');
const CHECK = `
import sys
from importlib.metadata import version
assert sys.version_info >= (3, 10)
for pin in sys.argv[1:]:
    name, wanted = pin.split("==")
    assert version(name.split("[")[0]) == wanted
import cryptography
`;
const isReady = (python) => works(python, ['-c', CHECK, ...pins]);

let python = process.env.PYTHON ?? 'python3';
if (!isReady(python)) {
  if (!works(python, ['-c', 'import sys; assert sys.version_info >= (3, 10)']))
    fail(`${python} is no Python 3.10 or later.`, 'Install one, or set PYTHON to it.');
  const inVenv = join(venv, 'bin', 'python');
  if (!isReady(inVenv)) {
    say(`installing ${pins.join(' ')} into ${venv} (once) …`);
    const toStderr = { stdio: ['ignore', 2, 2] };
    const made = spawnSync(python, ['-m', 'venv', '--clear', venv], toStderr).status === 0;
    const args = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...pins];
    if (!made || spawnSync(inVenv, args, toStderr).status !== 0 || !isReady(inVenv))
      fail(
        'That did not work.',
        'Read the lines above (Debian: apt-get install python3-venv), or set PYTHON to a Python that has them.',
      );
  }
  python = inVenv;
}

// The suite takes its expected failures from a file beside the command. There is none, so all have to pass.
const folder = mkdtempSync(join(tmpdir(), 'drover-conformance-'));
const command = join(folder, 'tuf-client');
writeFileSync(command, `#!/bin/sh\nexec '${process.execPath}' '${client}' "$@"\n`);
chmodSync(command, 0o755);
try {
  const args = ['-m', 'pytest', '-p', 'no:cacheprovider', '--entrypoint', command, ...process.argv.slice(2)];
  const { status, error } = spawnSync(python, [...args, 'tuf_conformance'], {
    cwd: suite,
    stdio: 'inherit',
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' },
  });
  if (error) throw error;
  process.exitCode = status ?? 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
