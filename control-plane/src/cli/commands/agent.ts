import { Command } from 'commander';
import { AGENT_MODEL } from '@drover/shared/manifest';
import type { Session } from '../program.js';
import { collectText, parseDuration } from '../units.js';

interface PublishOptions {
  readonly version?: string;
  readonly key?: readonly string[];
  readonly passphraseFile?: string;
  readonly expires: number;
  readonly proposal?: string;
  readonly description?: string;
  readonly revertFloor?: string;
}

export const agentCommands = ({ client, answer, terminal, options: globals }: Session): Command => {
  const agent = new Command('agent').description('Releases of the agent itself.');

  agent
    .command('publish')
    .description('Sign bundles of the agent, one for each platform, as one release, and publish it.')
    .argument('<bundles...>', 'what firmware-images/systemd/bundle.mjs has packed')
    .option(
      '--key <file>',
      'signing key; may be repeated (default: an unprotected development key, for trials)',
      collectText,
    )
    .option('--passphrase-file <file>', 'file that holds the passphrase of the keys')
    .option('--expires <duration>', 'how long the list of agent releases holds', parseDuration, parseDuration('365d'))
    .option('--proposal <file>', 'where the keys given do not suffice: file for the others to sign')
    .option('--version <version>', 'refuse bundles of another version than this')
    .option('--description <text>', 'for people')
    .option('--revert-floor <version>', 'oldest agent that the fleet may be sent back to')
    .addHelpText(
      'after',
      `\nExample:\n  drover agent publish drover-agent-1.1.0-linux-arm64-abi115.tar.gz --key publisher.key\n  drover rollout create ${AGENT_MODEL}@1.1.0 --stages canary:1,all:100%`,
    )
    .action(async (bundles: string[], options: PublishOptions) => {
      const { buildAgentRelease } = await import('../release-builder/agent-release.js');
      const release = buildAgentRelease({
        bundleFiles: bundles,
        version: options.version,
        description: options.description,
        revertFloor: options.revertFloor,
        createdAt: new Date(),
      });
      const { uploadFiles } = await import('../release-builder/upload.js');
      const { signRelease } = await import('../release-builder/publish.js');
      const target = client();
      await uploadFiles(target, release, {
        signal: terminal.interrupted,
        progress: (line) => (globals().json === true ? undefined : terminal.err(line)),
      });
      const signed = await signRelease(target, terminal, release, {
        keys: options.key,
        passphraseFile: options.passphraseFile,
        expiresMs: options.expires,
        proposalFile: options.proposal,
      });
      const { version } = release.manifest;
      answer(
        { model: AGENT_MODEL, version, digest: release.digest, ...signed },
        signed.published
          ? `${AGENT_MODEL}@${version} is published: ${release.digest}\nNext: drover rollout create ${AGENT_MODEL}@${version}`
          : `Uploaded, and more signatures are needed: drover keys sign ${signed.file} --key THEIR.key\nThen: drover keys publish ${signed.file}`,
      );
    });
  return agent;
};
