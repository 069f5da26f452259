import { DeviceId } from '@drover/shared/ids';
import { deviceOfTopic } from '@drover/shared/protocol';

/** What a broker that keeps its own log as topics says of a device. */
export interface Presence {
  readonly device: DeviceId;
  readonly event: 'connected' | 'disconnected' | 'subscribed';
}

/** Where Mosquitto puts its log (`log_dest topic`); the letter or word after it is the type of the line. */
export const PRESENCE_TOPICS = '$SYS/broker/log/#';

const NAME = '([a-z0-9][a-z0-9_-]{0,63})';
const LINES: readonly (readonly [RegExp, Presence['event']])[] = [
  [new RegExp(`^New client connected from \\S+ as ${NAME} \\(`), 'connected'],
  // From 2.1 on with the address: "Client NAME [192.0.2.7:53412] disconnected: exceeded timeout."
  [
    new RegExp(
      `^Client ${NAME} (?:\\[\\S+\\] )?(?:closed|(?:been )?disconnected|has exceeded timeout|already connected)`,
    ),
    'disconnected',
  ],
  [new RegExp(`^Bad socket read/write on client ${NAME}: `), 'disconnected'],
];
const SUBSCRIPTION = new RegExp(`^${NAME} \\d (\\S+)$`);

/**
 * Reads one line of the log of Mosquitto 2.0 or 2.1 (src/handle_connect.c, loop.c, subs.c there). Clients are named by the common name of their
 * certificate (`use_username_as_clientid`), so a device cannot write another's name. A line that says nothing of a device is undefined. Pure.
 */
export function readPresence(line: string): Presence | undefined {
  const text = line.replace(/^\d+: /, '').trim();
  for (const [pattern, event] of LINES) {
    const name = pattern.exec(text)?.[1];
    if (name !== undefined) return { device: DeviceId(name), event };
  }
  const [, name, topic = ''] = SUBSCRIPTION.exec(text) ?? [];
  const device = deviceOfTopic(topic, 'orders');
  return device !== undefined && device === name ? { device, event: 'subscribed' } : undefined;
}
