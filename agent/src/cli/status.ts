import type { AgentConfig } from '../config/index.js';
import type { AgentStatus } from '../supervisor/agent.js';
import { readStatus } from '../supervisor/status-socket.js';
import type { Terminal } from './terminal.js';

export async function showStatus(config: AgentConfig, asJson: boolean, terminal: Terminal): Promise<void> {
  const status = (await readStatus(config.dataDir)) as AgentStatus | { starting: true } | { stopping: true };
  if (asJson) {
    terminal.stdout(`${JSON.stringify(status)}\n`);
    return;
  }
  if (!('deviceId' in status)) {
    terminal.stdout(`The agent is ${'starting' in status ? 'starting' : 'stopping'}; ask again in a few seconds.\n`);
    return;
  }
  const { outbox, linkProblem } = status;
  const waiting = outbox.reports === 0 ? 'nothing waits to be sent' : `${outbox.reports} report(s) wait to be sent`;
  const lines = [
    `${status.deviceId}, agent ${status.agentVersion}: ${status.connected ? 'connected' : 'not connected'}, ${waiting}`,
    ...status.models.map(({ model, running, update }) => {
      const what = running ? `${running.release.version} on ${running.provider.actual}` : 'nothing loaded';
      const adapted = running?.adaptation === undefined ? '' : `, adapted here (${running.adaptation.slice(7, 19)})`;
      const drift = status.driftedModels.includes(model) ? ', DRIFT' : '';
      return `  ${model}: ${what}${adapted}${drift}; update: ${update.state}`;
    }),
    repositoryLine(status.repository),
    ...status.mirrors.map(mirrorLine),
    ...(linkProblem ? [`  ! ${linkProblem.code}: ${linkProblem.what}\n    ${linkProblem.remedy}`] : []),
    ...status.lastProblems.map(({ code, what, remedy }) => `  ! ${code}: ${what}\n    ${remedy}`),
  ];
  terminal.stdout(`${lines.join('\n')}\n`);
}

function mirrorLine({ url, bytesServed, resting }: AgentStatus['mirrors'][number]): string {
  const rests = resting
    ? `; passed over for ${Math.ceil(resting.forMs / 1000)} s (${resting.code}): ${resting.what}`
    : '';
  return `  mirror ${url}: ${bytesServed} bytes since the start${rests}`;
}

function repositoryLine({
  rootVersion,
  rootExpiresAt,
  freshUntil,
  stale,
  lastFailure,
}: AgentStatus['repository']): string {
  const root = `releases: root version ${rootVersion}, holds until ${rootExpiresAt}`;
  if (stale && freshUntil !== undefined)
    return `  ${root}; STALE: ${stale.what}${lastFailure ? ` Last look: ${lastFailure.code}.` : ''} The device serves on.`;
  return `  ${root}; fresh until ${freshUntil ?? 'the first refresh'}`;
}
