import { Command, CommanderError } from 'commander';
import { CodedError, formatCodedError, toCodedErrorJson } from '@drover/shared/coded-error';
import { connect, type Client } from './client.js';
import { agentCommands } from './commands/agent.js';
import { auditCommands } from './commands/audit.js';
import { bundleCommands } from './commands/bundle.js';
import { caCommands } from './commands/ca.js';
import { backupCommand, restoreCommand } from './commands/backup.js';
import { deviceCommands } from './commands/device.js';
import { doctorCommand } from './commands/doctor.js';
import { keyCommands } from './commands/keys/index.js';
import { labelCommands } from './commands/labels.js';
import { loginCommand } from './commands/login.js';
import { modelCommands } from './commands/model.js';
import { parametersCommands } from './commands/parameters.js';
import { recoveryCommands } from './commands/recovery.js';
import { repositoryCommands } from './commands/repository.js';
import { rolloutCommands } from './commands/rollout.js';
import { tokenCommands } from './commands/token.js';
import { trialCommands } from './commands/trial.js';
import { findCredentials } from './credentials.js';
import type { Progress } from './progress.js';
import type { Terminal } from './terminal.js';

export interface GlobalOptions {
  readonly json?: boolean;
  readonly controlPlane?: string;
}

/** What every command gets: the terminal, the control plane that the user means, and one way to answer. */
export interface Session {
  readonly terminal: Terminal;
  readonly version: string;
  readonly options: () => GlobalOptions;
  /** Connects with the credentials in force; throws CLI_NOT_LOGGED_IN. */
  readonly client: () => Client;
  /** Tells how far long work is, on the error output; nothing with --json. */
  readonly progress: Progress;
  /** Prints the document with --json, else the text for a person. */
  readonly answer: (document: unknown, text: string) => void;
}

export const EXIT = { ok: 0, failed: 1, usage: 2 } as const;

/** Runs one command line; returns the exit code: 0 done, 1 failed, 2 not understood. */
export async function runDrover(argv: readonly string[], terminal: Terminal, version: string): Promise<number> {
  const program = new Command('drover')
    .description('Delivers machine-learning models to fleets of edge devices. Talks to one control plane.')
    .option('--json', 'answer with JSON')
    .option('--control-plane <url>', 'address of the control plane (else DROVER_URL, else the one of `drover login`)')
    .configureOutput({
      writeOut: (text) => terminal.out(text.trimEnd()),
      writeErr: (text) => terminal.err(text.trimEnd()),
    })
    .addHelpText('after', '\n`drover --version` prints the version.')
    .exitOverride();
  // Not commander's own version option: it would swallow the --version of `drover model publish`.
  if (argv[0] === '--version') {
    terminal.out(version);
    return EXIT.ok;
  }
  const options = () => program.opts<GlobalOptions>();
  const session: Session = {
    terminal,
    version,
    options,
    client: () => {
      const { url, token, ca } = findCredentials(terminal, options().controlPlane);
      return connect(url, token, ca);
    },
    progress: (line) => (options().json === true ? undefined : terminal.err(line)),
    answer: (document, text) => terminal.out(options().json === true ? JSON.stringify(document) : text),
  };
  for (const command of [
    loginCommand(session),
    doctorCommand(session),
    keyCommands(session),
    modelCommands(session),
    parametersCommands(session),
    agentCommands(session),
    deviceCommands(session),
    rolloutCommands(session),
    trialCommands(session),
    labelCommands(session),
    bundleCommands(session),
    tokenCommands(session),
    caCommands(session),
    auditCommands(session),
    backupCommand(session),
    restoreCommand(session),
    recoveryCommands(session),
    repositoryCommands(session),
  ]) {
    program.addCommand(inherit(command, program));
  }
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return EXIT.ok;
  } catch (error) {
    return report(error, terminal, argv.includes('--json'));
  }
}

/** Commander hands output and exit settings only to commands that it creates itself. */
function inherit(command: Command, parent: Command): Command {
  command.copyInheritedSettings(parent);
  for (const child of command.commands) inherit(child, command);
  return command;
}

function report(error: unknown, terminal: Terminal, json: boolean): number {
  if (error instanceof CommanderError) {
    // Help and version are answers; everything else has been explained on the error output already.
    return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  }
  const coded = toCodedErrorJson(error);
  if (json) terminal.out(JSON.stringify({ error: coded }));
  else terminal.err(formatCodedError(coded));
  if (!(error instanceof CodedError) && error instanceof Error) terminal.err(error.stack ?? error.message);
  return coded.code === 'CLI_USAGE' ? EXIT.usage : EXIT.failed;
}
