import type { Client } from './client.js';
import { CliError } from './errors.js';
import { formatTime, type Terminal } from './terminal.js';

export interface RolloutView {
  readonly id: string;
  readonly model: string;
  readonly release: { readonly version: string };
  readonly state: string;
  /** Why it is in this state. */
  readonly reason: string;
  readonly createdAt: number;
}

interface RolloutEvent {
  readonly id: number;
  readonly at: number;
  readonly kind: string;
  readonly message: string;
}

/** States in which nothing moves any more until somebody acts. */
const RESTING = new Set(['completed', 'halted', 'reverted', 'aborted', 'paused']);

export interface Watch {
  readonly client: Client;
  readonly terminal: Terminal;
  readonly id: string;
  readonly intervalMs: number;
  /** One JSON document per line. */
  readonly json: boolean;
}

/** Prints the events of a rollout as they come. @throws CliError CLI_ROLLOUT_NOT_COMPLETED when it rests in any state but `completed` */
export async function watchRollout({ client, terminal, id, intervalMs, json }: Watch): Promise<void> {
  const path = `/rollouts/${encodeURIComponent(id)}`;
  let after = 0;
  for (;;) {
    // State before events: what led to this state is then among the events.
    const rollout = await client.get<RolloutView>(path);
    for (;;) {
      const { items } = await client.get<{ items: RolloutEvent[] }>(`${path}/events?after=${after}`);
      for (const event of items)
        terminal.out(json ? JSON.stringify(event) : `${formatTime(event.at)}  ${event.message}`);
      const last = items.at(-1);
      if (!last) break;
      after = last.id;
    }
    if (RESTING.has(rollout.state)) {
      terminal.out(
        json
          ? JSON.stringify(rollout)
          : `The rollout of ${rollout.model}@${rollout.release.version} is ${rollout.state}: ${rollout.reason}`,
      );
      if (rollout.state === 'completed') return;
      throw new CliError('CLI_ROLLOUT_NOT_COMPLETED', `The rollout is ${rollout.state}: ${rollout.reason}`, {
        remedy: `See why with \`drover rollout events ${id}\`.`,
      });
    }
    await terminal.sleep(intervalMs);
  }
}
