import { statfs } from 'node:fs/promises';
import { Command } from 'commander';
import { formatCodedError, toCodedErrorJson } from '@drover/shared/coded-error';
import { connect } from '../client.js';
import { findCredentials } from '../credentials.js';
import { CliError } from '../errors.js';
import type { Session } from '../program.js';
import type { RepositoryState } from '../../release-repository/index.js';
import type { WhoAmI } from './login.js';

interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

const MAX_CLOCK_SKEW_MS = 30_000;
const MIN_FREE_BYTES = 500 * 1024 * 1024;

/** Looks at everything that commonly goes wrong; each line says OK, or what to do. */
export const doctorCommand = ({ terminal, options, answer }: Session): Command =>
  new Command('doctor')
    .description('Check the way to the control plane: address, token, clock, release repository, disk.')
    .addHelpText('after', '\nExample:\n  drover doctor')
    .action(async () => {
      const checks: Check[] = [];
      const check = async (name: string, look: () => Promise<string>): Promise<void> => {
        try {
          checks.push({ name, ok: true, detail: await look() });
        } catch (error) {
          checks.push({ name, ok: false, detail: formatCodedError(toCodedErrorJson(error)) });
        }
      };
      const credentials = () => findCredentials(terminal, options().controlPlane);
      const client = () => connect(credentials().url, credentials().token, credentials().ca);
      await check('credentials', () => Promise.resolve(`a token for ${credentials().url}`));
      await check('control plane', async () => {
        const { version } = await client().get<{ version: string }>('//healthz');
        return `answers, version ${version}`;
      });
      await check('clock', async () => {
        const before = Date.now();
        const { time } = await client().get<{ time: number }>('//healthz');
        const skewMs = Math.round(time - (before + Date.now()) / 2);
        if (Math.abs(skewMs) <= MAX_CLOCK_SKEW_MS) return `${skewMs} ms apart`;
        throw new CliError('CLI_DOCTOR_FAILED', `The clocks are ${skewMs} ms apart.`, {
          remedy: "Let both machines set their clocks by NTP: orders and claim tokens expire by the control plane's.",
        });
      });
      await check('token', async () => {
        const { name, role } = await client().get<WhoAmI>('/whoami');
        return `"${name}" with the role ${role}`;
      });
      await check('release repository', async () => {
        const { roles, problems, development } = await client().get<RepositoryState>('/repository');
        const [worst] = problems;
        if (worst) {
          throw new CliError('CLI_DOCTOR_FAILED', problems.map(({ code, what }) => `${code}: ${what}`).join(' '), {
            remedy: worst.remedy,
          });
        }
        const days =
          Math.min(
            ...roles
              .filter(({ role }) => !['timestamp', 'snapshot'].includes(role))
              .map(({ secondsLeft }) => secondsLeft),
          ) / 86_400;
        const trial = development
          ? '; DEVELOPMENT KEYS sign for it, for trials only: `drover keys create` makes real ones'
          : '';
        return `${roles.length} roles, the first needs its holders in ${Math.floor(days)} days${trial}`;
      });
      await check('disk here', async () => {
        const { bavail, bsize } = await statfs('.');
        const freeMiB = Math.floor((bavail * bsize) / 1024 ** 2);
        if (bavail * bsize >= MIN_FREE_BYTES) return `${freeMiB} MiB free`;
        throw new CliError('CLI_DOCTOR_FAILED', `Only ${freeMiB} MiB are free in this folder.`, {
          remedy: 'Free space before building releases here.',
        });
      });
      const bad = checks.filter(({ ok }) => !ok).length;
      const lines = checks.map(
        ({ name, ok, detail }) => `${ok ? 'OK  ' : 'BAD '} ${name}: ${detail.replaceAll('\n', '\n     ')}`,
      );
      answer({ ok: bad === 0, checks }, lines.join('\n'));
      if (bad > 0)
        throw new CliError('CLI_DOCTOR_FAILED', `${bad} of ${checks.length} checks failed.`, {
          remedy: 'Follow the lines marked BAD, from the top.',
        });
    });
