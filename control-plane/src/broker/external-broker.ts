import { MqttClient } from 'mqtt';
import type { DeviceId } from '@drover/shared/ids';
import { ALL_REPORTS, deviceOfTopic } from '@drover/shared/protocol';
import type { ClientCredentials } from '../certificate-authority/index.js';
import { SERVICE_USER } from './access.js';
import { BrokerError } from './errors.js';
import { secureSocket, unreachable } from './secure-socket.js';
import { takeOver } from './take-over.js';
import type { BrokerMetrics, BrokerPort, DeviceAccess, ReportHandler } from './port.js';
import { PRESENCE_TOPICS, readPresence } from './presence-log.js';

export interface ExternalBrokerOptions {
  /** mqtts://NAME[:PORT] */
  readonly url: string;
  /** Of the account `service`, in force now: each connection is made with what it gives then. */
  readonly credentials: () => ClientCredentials;
  /** A certificate in the name of a device, by which its connection is taken over and so ended. */
  readonly credentialsOf: (device: DeviceId) => Promise<ClientCredentials>;
  readonly devices: Pick<DeviceAccess, 'touch'> & {
    /** What came and went while we were away is not told: each device counts as away until it is heard. */
    forgetConnections(): Promise<void>;
  };
  /** Devices that may be there when we come back: what they missed is sent to each. */
  readonly everybody: () => Promise<readonly DeviceId[]>;
  readonly now: () => number;
  readonly onIncident: (incident: { readonly peer: string; readonly error: unknown }) => void;
  /** A device listens to its orders from now on, or may have begun to while we were away. */
  readonly onSubscribed?: (device: DeviceId) => Promise<void>;
  /** Between two attempts to connect. */
  readonly pauseMs?: number;
  /** When a connection that was taken over is taken over once more, because the broker read the revocation list late. */
  readonly cutAgainMs?: number;
}

const CONNECT_TIMEOUT_MS = 30_000;
const KEEPALIVE_S = 30;

/**
 * A client of a broker beside the control plane: MQTT 3.1.1 over mutual TLS, by a certificate of our own authority.
 *
 * Devices are acknowledged by the broker, before we have their reports. So that none is lost then, our session outlives our connection (MQTT 3.1.1,
 * section 3.1.2.4), and we acknowledge to the broker only what is stored: it keeps the rest, and sends it again.
 */
export function connectBroker(options: ExternalBrokerOptions): BrokerPort {
  const { url, devices, now, onIncident, onSubscribed, pauseMs = 5_000, cutAgainMs = 10_000 } = options;
  const refusals = new Map<string, number>();
  /** What `close` waits for: the database must not go away under it. */
  const pending = new Set<Promise<void>>();
  const timers = new Set<NodeJS.Timeout>();
  const closing = new AbortController();
  let handler: ReportHandler | undefined;

  const inBackground = (peer: string, work: Promise<void> | undefined): Promise<void> => {
    if (!work) return Promise.resolve();
    const watched: Promise<void> = work
      .catch((error: unknown) => onIncident({ peer, error }))
      .finally(() => pending.delete(watched));
    pending.add(watched);
    return watched;
  };
  /** In the order in which it was heard: a device that went and came again is there. */
  let presence: Promise<void> = Promise.resolve();
  const note = (peer: string, change: () => Promise<void>): void => {
    presence = inBackground(peer, presence.then(change));
  };

  const client = new MqttClient(() => secureSocket(url, options.credentials()), {
    protocolVersion: 4,
    clientId: SERVICE_USER,
    username: SERVICE_USER,
    clean: false,
    keepalive: KEEPALIVE_S,
    connectTimeout: CONNECT_TIMEOUT_MS,
    reconnectPeriod: pauseMs,
    // One refused CONNACK would otherwise end the attempts for good.
    reconnectOnConnackError: true,
    resubscribe: false,
    queueQoSZero: false,
  });
  /** The same reason is told once for as long as it lasts. */
  let told: string | undefined;
  client.on('error', (cause) => {
    const error = unreachable(url, cause);
    if (told === error.message) return;
    told = error.message;
    refusals.set(error.code, (refusals.get(error.code) ?? 0) + 1);
    onIncident({ peer: SERVICE_USER, error });
  });
  /** Of the present connection. */
  let ended = new AbortController();
  client.on('connect', () => {
    told = undefined;
    ended = new AbortController();
    note(SERVICE_USER, () => devices.forgetConnections());
    void inBackground(SERVICE_USER, listen(ended.signal));
  });
  client.on('close', () => {
    ended.abort();
    // The next connection would send them again, also where their rollout was halted meanwhile; `listen` sends what differs then.
    const lost = Object.keys(client.outgoing);
    for (const messageId of lost) client.removeOutgoingMessage(Number(messageId));
    if (lost.length > 0 && !closing.signal.aborted)
      onIncident({
        peer: SERVICE_USER,
        error: notConnected(`The connection ended before ${lost.length} messages were acknowledged.`),
      });
  });

  async function listen(connection: AbortSignal): Promise<void> {
    try {
      await client.subscribeAsync(ALL_REPORTS, { qos: 1 });
      await client.subscribeAsync(PRESENCE_TOPICS, { qos: 0 });
    } catch (cause) {
      if (closing.signal.aborted) return;
      throw unreachable(url, cause as Error);
    }
    // Who was connected before us is not announced; and what goes to nobody is dropped by the broker.
    const everybody = onSubscribed ? await options.everybody() : [];
    for (const device of everybody) {
      if (connection.aborted) return;
      await onSubscribed?.(device);
    }
  }

  client.handleMessage = (packet, acknowledge) => {
    const device = deviceOfTopic(packet.topic, 'reports');
    const taken = device ? take(device, packet.topic, Buffer.from(packet.payload)) : Promise.resolve();
    const answered = taken.then(
      () => acknowledge(),
      (error: unknown) => {
        // Not acknowledged (MQTT 3.1.1, section 4.4): the broker sends it again on the next connection, and what lies behind it with it.
        onIncident({ peer: device ?? 'unknown', error });
        client.stream.destroy();
      },
    );
    void inBackground(device ?? 'unknown', answered);
  };
  async function take(device: DeviceId, topic: string, payload: Uint8Array): Promise<void> {
    if (!handler || closing.signal.aborted) throw notConnected('The control plane does not take reports now.');
    await handler(topic, payload);
    note(device, () => devices.touch(device, { connected: true, lastSeenAt: now() }));
  }

  client.on('message', (topic, payload) => {
    if (!topic.startsWith('$SYS/broker/log/') || closing.signal.aborted) return;
    const seen = readPresence(payload.toString('utf8'));
    if (!seen) return;
    const { device, event } = seen;
    if (event === 'subscribed') void inBackground(device, onSubscribed?.(device));
    else note(device, () => devices.touch(device, { connected: event === 'connected', lastSeenAt: now() }));
  });

  const cut = (device: DeviceId): void =>
    void inBackground(
      device,
      options
        .credentialsOf(device)
        .then((credentials) =>
          takeOver({ url, device, credentials, timeoutMs: CONNECT_TIMEOUT_MS, signal: closing.signal }),
        ),
    );

  return {
    url,
    publish(topic, payload) {
      // What cannot be sent now is sent when its device states what it runs, or when we are back.
      if (closing.signal.aborted || !client.connected)
        onIncident({ peer: SERVICE_USER, error: notConnected('The broker is not connected.') });
      // Nobody may wait for the acknowledgement: it comes behind the report that is being taken, and mqtt.js reads on only after that one.
      // What is under way is bounded by the keepalive: a broker that does not answer loses the connection, and `close` drops it.
      else client.publish(topic, Buffer.from(payload), { qos: 1, retain: false });
      return Promise.resolve();
    },
    onReports(given) {
      handler = given;
    },
    disconnect(device) {
      // All of them: each asks for the authorities in force twice a day, and cutting them one by one would be an attack on the broker.
      if (device === 'all' || closing.signal.aborted) return;
      cut(device);
      const again = setTimeout(() => {
        timers.delete(again);
        cut(device);
      }, cutAgainMs);
      timers.add(again);
    },
    collect: (): BrokerMetrics => ({ connections: client.connected ? 1 : 0, refusals: Object.fromEntries(refusals) }),
    async close() {
      closing.abort();
      for (const timer of timers) clearTimeout(timer);
      // By force, and without waiting for acknowledgements: a broker that does not answer must not hold us up.
      await client.endAsync(true);
      while (pending.size > 0) await Promise.all(pending);
    },
  };
}

const notConnected = (what: string) =>
  new BrokerError('BROKER_CLOSED', what, { remedy: 'Nothing: it is done again once the broker is there.' });
