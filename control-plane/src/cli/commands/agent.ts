import { Command } from 'commander';
import { AGENT_MODEL } from '@drover/shared/manifest';
import { occasionalSigner, parseKeyPair } from '@drover/shared/trust';
import { readJson } from '../files.js';
import type { Session } from '../program.js';
import { collectText } from '../units.js';

interface PublishOptions {
  readonly version?: string;
  readonly key: readonly string[];
  readonly description?: string;
  readonly revertFloor?: string;
}

export const agentCommands = ({ client, answer, terminal, options: globals }: Session): Command => {
  const agent = new Command('agent').description('Releases of the agent itself.');

  agent
    .command('publish')
    .description('Sign bundles of the agent, one for each platform, as one release, and publish it.')
    .argument('<bundles...>', 'what firmware-images/systemd/bundle.mjs has packed')
    .requiredOption('--key <file>', 'signing key; repeat it where several must sign', collectText)
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
        signers: options.key.map((file) => occasionalSigner(parseKeyPair(readJson(file)))),
      });
      const { uploadRelease } = await import('../release-builder/upload.js');
      const published = await uploadRelease(client(), release, (line) => {
        if (globals().json !== true) terminal.out(line);
      });
      answer(
        published,
        `${published.model}@${published.version} is published: ${published.digest}\nNext: drover rollout create ${published.model}@${published.version}`,
      );
    });
  return agent;
};
