import { parse } from 'semver';

/**
 * How an agent's version stands to that of this control plane (docs/protocol.md, section 1). `unsupported` is shown, not refused: what such an
 * agent says in a protocol that is known here still counts.
 */
export const AGENT_AGES = ['newer', 'current', 'outdated', 'unsupported', 'unknown'] as const;
export type AgentAge = (typeof AGENT_AGES)[number];

/** Minor versions that a control plane serves besides its own. */
export const SERVED_OLDER_MINORS = 2;

/** `unknown`: one of the two is no semantic version. */
export function agentAge(agentVersion: string, controlPlaneVersion: string): AgentAge {
  const [agent, own] = [parse(agentVersion), parse(controlPlaneVersion)];
  if (!agent || !own) return 'unknown';
  if (agent.major !== own.major) return agent.major > own.major ? 'newer' : 'unsupported';
  const behind = own.minor - agent.minor;
  if (behind < 0) return 'newer';
  if (behind === 0) return 'current';
  return behind <= SERVED_OLDER_MINORS ? 'outdated' : 'unsupported';
}
