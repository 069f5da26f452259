import { Command } from 'commander';
import { AGENT_MODEL } from '@drover/shared/manifest';
import type { Session } from '../program.js';
import { uploadAndSign, withSigners, type SignersGiven } from './publishing.js';

interface PublishOptions extends SignersGiven {
  readonly version?: string;
  readonly description?: string;
  readonly revertFloor?: string;
}

export const agentCommands = (session: Session): Command => {
  const { client, answer } = session;
  const agent = new Command('agent').description('Releases of the agent itself.');

  const publish = agent
    .command('publish')
    .description('Sign bundles of the agent, one for each platform, as one release, and publish it.')
    .argument('<bundles...>', 'what firmware-images/systemd/bundle.mjs has packed');
  withSigners(publish, 'the list of agent releases')
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
      const signed = await uploadAndSign(session, { client: client(), release, signers: options });
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
