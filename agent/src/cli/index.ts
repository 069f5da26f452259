import { resolve } from 'node:path';
import { Command, CommanderError, Option } from 'commander';
import type { AgentConfig } from '../config/index.js';
import type { Terminal } from './terminal.js';

/** Exit status: 0 done, 1 failed, 2 wrong usage. Each command is loaded when it is asked for: `run` pays for no other. */
export async function runCommand(terminal: Terminal): Promise<number> {
  let status = 0;
  const program = new Command('drover-agent')
    .description('Runs on the device: keeps its model up to date, serves it, watches it, and tunes it.')
    .exitOverride()
    .configureOutput({ writeOut: terminal.stdout, writeErr: terminal.stderr })
    .showHelpAfterError('See drover-agent --help.');
  const configured = (command: Command) =>
    command
      .addOption(
        new Option('--config <file>', 'configuration file').default(
          undefined,
          '/etc/drover/agent.json where it exists',
        ),
      )
      .option('--data-dir <folder>', 'overrides dataDir of the configuration');
  const read = async (options: CommonOptions): Promise<AgentConfig> => {
    const { AGENT_ENV_PREFIX, defaultConfigFile, readAgentConfig } = await import('../config/index.js');
    // As a variable, so that it is checked like any other value.
    const override = options.dataDir === undefined ? {} : { [`${AGENT_ENV_PREFIX}DATA_DIR`]: options.dataDir };
    const config = readAgentConfig(options.config ?? defaultConfigFile(), { ...terminal.environment, ...override });
    return { ...config, dataDir: resolve(config.dataDir) };
  };

  const start = (command: Command, mode: 'serve' | 'attach') =>
    configured(command)
      .option('--json-ready', 'print one JSON line on standard output when ready')
      .action(async (options: CommonOptions & { jsonReady?: true }) => {
        const { run } = await import('./run.js');
        await run(await read(options), terminal, {
          mode,
          announceReady: options.jsonReady === true,
          configArguments: [
            ...(options.config === undefined ? [] : ['--config', options.config]),
            ...(options.dataDir === undefined ? [] : ['--data-dir', options.dataDir]),
          ],
        });
      });
  start(program.command('run'), 'serve')
    .description('Run the agent until it is stopped (systemd does this).')
    .addHelpText('after', '\nExample: drover-agent run --config /etc/drover/agent.json');
  start(program.command('attach'), 'attach')
    .description('Run the agent for applications that run models themselves (attach.models in the configuration).')
    .addHelpText('after', '\nExample: drover-agent attach --config /etc/drover/agent.json');
  configured(program.command('enrol'))
    .description('Make this device known to a control plane.')
    .requiredOption('--control-plane <url>', 'address of the control plane')
    .requiredOption('--token <token>', 'claim token (drover device token create)')
    .option('--ca <file>', 'authority that the server proves itself by, where the token pins none')
    .requiredOption('--root <file>', 'root.json of the release repository: its holders decide what this device runs')
    .addHelpText(
      'after',
      '\nExample: drover-agent enrol --control-plane http://10.0.0.5:7070 --token TOKEN --root root.json',
    )
    .action(async (options: CommonOptions & { controlPlane: string; token: string; root: string; ca?: string }) => {
      const { enrolDevice } = await import('./enrol.js');
      const config = await read(options);
      const tls = options.ca === undefined ? config.tls : { ca: resolve(options.ca) };
      await enrolDevice({ ...config, tls }, options, terminal);
    });
  configured(program.command('status'))
    .description('What the running agent is doing.')
    .option('--json', 'print the whole state as JSON')
    .addHelpText('after', '\nExample: drover-agent status --json')
    .action(async (options: CommonOptions & { json?: true }) => {
      const { showStatus } = await import('./status.js');
      await showStatus(await read(options), options.json === true, terminal);
    });
  configured(program.command('import'))
    .description('Take in a bundle that somebody brought (drover bundle export): a release, and the order for it.')
    .argument('<file>')
    .option('--json', 'print what became of it as JSON')
    .addHelpText('after', '\nExample: drover-agent import /media/stick/gas-1.1.0.bundle')
    .action(async (file: string, options: CommonOptions & { json?: true }) => {
      const { importBundle } = await import('./import.js');
      status = await importBundle(await read(options), resolve(file), options.json === true, terminal);
    });
  const labels = program.command('labels').description('What this device would like labelled (agent.json, labels).');
  configured(labels.command('list'))
    .description('Requests for labels that wait, oldest first.')
    .argument('<model>')
    .option('--json', 'print them with all features as JSON')
    .addHelpText('after', '\nExample: drover-agent labels list gas-classifier')
    .action(async (model: string, options: CommonOptions & { json?: true }) => {
      const { listLabels } = await import('./labels.js');
      await listLabels(await read(options), model, options.json === true, terminal);
    });
  configured(labels.command('answer'))
    .description('Say what a sample really is; without a label, that nobody can tell.')
    .argument('<model>')
    .argument('<id>', 'of the request, as "labels list" shows it')
    .argument('[label]', 'name or index of the class')
    .addHelpText('after', '\nExample: drover-agent labels answer gas-classifier ID methane')
    .action(async (model: string, id: string, label: string | undefined, options: CommonOptions) => {
      const { answerLabel } = await import('./labels.js');
      await answerLabel(await read(options), { model, id, label }, terminal);
    });
  configured(program.command('doctor'))
    .description('Check this device: each line is OK, or says what to do.')
    .option('--json', 'print the checks as JSON')
    .addHelpText('after', '\nExample: drover-agent doctor')
    .action(async (options: CommonOptions & { json?: true }) => {
      const { examine } = await import('./doctor.js');
      status = await examine(await read(options), options.json === true, terminal);
    });

  // The version that runs starts this of the version that shall replace it (agent/src/launcher/contract.ts).
  configured(program.command('self-test', { hidden: true }))
    .requiredOption('--nonce <text>', 'given back in the answer')
    .action(async (options: CommonOptions & { nonce: string }) => {
      const { selfTest } = await import('./self-test.js');
      await selfTest(await read(options), options.nonce, terminal);
    });

  try {
    await program.parseAsync([...terminal.argv]);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    throw error;
  }
  return status;
}

interface CommonOptions {
  readonly config?: string;
  readonly dataDir?: string;
}
