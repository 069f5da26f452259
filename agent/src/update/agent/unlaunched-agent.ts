import type { Version } from '@drover/shared/ids';
import type { AgentRunner } from '../ports.js';

/** An agent that no launcher started: a container, a terminal, a simulation. Whoever started it updates it (AGENT_NOT_UPDATABLE). */
export function unlaunchedAgent(version: Version): AgentRunner {
  const never = (): Promise<never> =>
    Promise.reject(new Error('An agent without a launcher was asked to update itself.'));
  return {
    isUpdatable: false,
    committedVersion: () => version,
    stage: never,
    selfTest: never,
    activate: never,
    giveUp: () => Promise.resolve(),
    commit: () => undefined,
    running: () => undefined,
    unfit: () => undefined,
    collect: () => undefined,
  };
}
