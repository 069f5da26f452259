import { compareVersions, type Digest } from '@drover/shared/ids';
import { agentVariantFor } from '@drover/shared/manifest';
import type { Deployment } from '@drover/shared/protocol';
import type { ReleaseRef } from '../accept.js';
import { UpdateError } from '../errors.js';
import type { AgentRunner, ServingHealth } from '../ports.js';
import type { Kind } from './kind.js';

/** From the start of a version of the agent to its commit: probation, and what a slow device takes before and after it. */
const AGENT_START_MS = 15 * 60_000;

/** Nobody sends requests to the agent itself. */
const NO_REQUESTS: ServingHealth = { requests: 0, failures: 0, crashes: 0 };

/** No manifest has this digest, so no grant can name it. */
const NO_RELEASE = `sha256:${'0'.repeat(64)}` as Digest;

export const agentKind: Kind<'agent'> = {
  unable: ({ agent }) => (agent.isUpdatable ? undefined : notUpdatable()),
  base: (committed, { agent }) => newestAgent(committed, agent),
  isOver: () => false,

  files: (manifest, { platform }) => [agentVariantFor(manifest, platform).bundle],

  installed({ model, release, manifest, directory }, { platform }) {
    const variant = agentVariantFor(manifest, platform);
    const { path, digest: loaded } = variant.bundle;
    return { model, release, manifest, variant, bundleFile: `${directory}/${path}`, loaded, directory };
  },

  verify: () => Promise.resolve(''),

  async stage(candidate, { agent, signal }) {
    await agent.stage(candidate, signal);
    return 'the version lies beside the one that runs';
  },

  selfTest: (candidate, { agent, signal }) => agent.selfTest(candidate, signal),

  async activate(candidate, { agent, deployment, signal }) {
    const running = await agent.activate(candidate, deployment.probation.maxMs + AGENT_START_MS, signal);
    return `${candidate.model} ${running.release.version} runs on ${running.provider.actual}`;
  },

  watch: (_candidate, { agent, deployment }) => ({
    probation: { ...deployment.probation, minRequests: 0 },
    contract: undefined,
    health: () => NO_REQUESTS,
    broken: () => undefined,
    over: () => undefined,
    unfit() {
      const why = agent.unfit();
      return why === undefined ? undefined : notFit(deployment, why);
    },
    testAgain: () => Promise.resolve(''),
  }),

  commit: (candidate, { agent }) => agent.commit(candidate),
  settled: () => Promise.resolve(),
  running: (_name, { agent }) => agent.running(),
  restore: {
    by: 'giving-up',
    async giveUp({ agent }) {
      await agent.giveUp('the update was taken back');
      return 'the committed version of the agent runs';
    },
  },
};

/** The installer's version is no release that the journal knows, and nobody shall go below it either. */
function newestAgent(committed: ReleaseRef | undefined, agent: AgentRunner): ReleaseRef {
  const version = agent.committedVersion();
  return committed && compareVersions(committed.version, version) >= 0 ? committed : { version, digest: NO_RELEASE };
}

const notUpdatable = () =>
  new UpdateError('AGENT_NOT_UPDATABLE', 'No launcher started this agent, so it cannot be replaced from within.', {
    remedy: 'Update it the way it was installed (a new container image), or install it with install.sh.',
  });

const notFit = ({ model, release }: Deployment, why: string) =>
  new UpdateError('AGENT_UNFIT', `${model} ${release.version} was not fit at the end of probation: ${why}.`, {
    remedy:
      'If the network was down, order the release again; else look at the log of the device (journalctl -u drover-agent).',
  });
