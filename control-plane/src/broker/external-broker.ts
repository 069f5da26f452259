import { connect as connectTls } from 'node:tls';
import { MqttClient } from 'mqtt';
import type { DeviceId } from '@drover/shared/ids';
import { ALL_REPORTS, deviceOfTopic } from '@drover/shared/protocol';
import type { ClientCredentials } from '../certificate-authority/index.js';
import { SERVICE_USER } from './access.js';
import { BrokerError } from './errors.js';
import type { BrokerMetrics, BrokerPort, DeviceAccess, ReportHandler } from './port.js';
import { PRESENCE_TOPICS, readPresence } from './presence-log.js';

export interface ExternalBrokerOptions {
  /** mqtts://NAME[:PORT] */
  readonly url: string;
  /** Of the account `service`, in force now: each connection is made with what it gives then. */
  readonly credentials: () => ClientCredentials;
  /** A certificate in the name of a device, by which its connection is taken over and so ended. */
  readonly credentialsOf: (device: DeviceId) => Promise<ClientCredentials>;
  readonly devices: Pick<DeviceAccess, 'touch'>;
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

const DEFAULT_PORT = 8883;
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
  const target = new URL(url);
  const refusals = new Map<string, number>();
  const pending = new Set<Promise<void>>();
  const timers = new Set<NodeJS.Timeout>();
  let handler: ReportHandler | undefined;
  let isClosing = false;

  const socketFor = ({ ca, cert, key }: ClientCredentials) =>
    connectTls({
      host: target.hostname.replace(/^\[|\]$/g, ''),
      port: target.port === '' ? DEFAULT_PORT : Number(target.port),
      servername: /^[\d.]+$|:/.test(target.hostname) ? '' : target.hostname,
      ca: [...ca],
      cert,
      key,
      minVersion: 'TLSv1.2',
    });
  const inBackground = (peer: string, work: Promise<void> | undefined): void => {
    if (!work) return;
    const watched: Promise<void> = work
      .catch((error: unknown) => onIncident({ peer, error }))
      .finally(() => pending.delete(watched));
    pending.add(watched);
  };

  const client = new MqttClient(() => socketFor(options.credentials()), {
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
  client.on('connect', () => {
    told = undefined;
    inBackground(SERVICE_USER, listen());
  });

  async function listen(): Promise<void> {
    await client.subscribeAsync(ALL_REPORTS, { qos: 1 });
    await client.subscribeAsync(PRESENCE_TOPICS, { qos: 0 });
    // Who was connected before us is not announced; and what goes to nobody is dropped by the broker.
    for (const device of await options.everybody()) await onSubscribed?.(device);
  }

  client.handleMessage = (packet, acknowledge) => {
    const payload = Buffer.from(packet.payload);
    take(packet.topic, payload).then(
      () => acknowledge(),
      (error: unknown) => {
        // Not acknowledged (MQTT 3.1.1, section 4.4): the broker sends it again on the next connection, and what lies behind it with it.
        onIncident({ peer: deviceOfTopic(packet.topic, 'reports') ?? 'unknown', error });
        client.stream.destroy();
      },
    );
  };
  async function take(topic: string, payload: Uint8Array): Promise<void> {
    const device = deviceOfTopic(topic, 'reports');
    if (!device) return;
    if (!handler) throw notConnected('The control plane does not take reports yet.');
    await handler(topic, payload);
    await devices.touch(device, { connected: true, lastSeenAt: now() });
  }

  client.on('message', (topic, payload) => {
    if (!topic.startsWith('$SYS/broker/log/')) return;
    const seen = readPresence(payload.toString('utf8'));
    if (!seen) return;
    const { device, event } = seen;
    if (event === 'subscribed') inBackground(device, onSubscribed?.(device));
    else inBackground(device, devices.touch(device, { connected: event === 'connected', lastSeenAt: now() }));
  });

  /** MQTT 3.1.1, section 3.1.4: a second connection under one client id ends the first. */
  async function takeOver(device: DeviceId): Promise<void> {
    const credentials = await options.credentialsOf(device);
    await new Promise<void>((resolve) => {
      const intruder = new MqttClient(() => socketFor(credentials), {
        protocolVersion: 4,
        clientId: device,
        username: device,
        clean: true,
        connectTimeout: CONNECT_TIMEOUT_MS,
        reconnectPeriod: 0,
      });
      const done = () => {
        intruder.end(true);
        resolve();
      };
      intruder.once('connect', done).once('error', done).once('close', done);
    });
  }

  return {
    url,
    publish: async (topic, payload) => {
      // What cannot be sent now is sent when its device states what it runs, or when we are back.
      if (isClosing || !client.connected) {
        onIncident({ peer: SERVICE_USER, error: notConnected('The broker is not connected.') });
        return;
      }
      await client.publishAsync(topic, Buffer.from(payload), { qos: 1, retain: false });
    },
    onReports(given) {
      handler = given;
    },
    disconnect(device) {
      // All of them: each asks for the authorities in force twice a day, and cutting them one by one would be an attack on the broker.
      if (device === 'all') return;
      inBackground(device, takeOver(device));
      const again = setTimeout(() => {
        timers.delete(again);
        inBackground(device, takeOver(device));
      }, cutAgainMs);
      timers.add(again);
    },
    collect: (): BrokerMetrics => ({ connections: client.connected ? 1 : 0, refusals: Object.fromEntries(refusals) }),
    async close() {
      isClosing = true;
      for (const timer of timers) clearTimeout(timer);
      await client.endAsync(true);
      await Promise.all(pending);
    },
  };
}

const notConnected = (what: string) =>
  new BrokerError('BROKER_CLOSED', what, { remedy: 'Nothing: it is done again once the broker is there.' });

const unreachable = (url: string, cause: Error) =>
  new BrokerError('BROKER_UNREACHABLE', `The broker cannot be used: ${cause.message}.`, {
    where: url,
    remedy:
      'The control plane goes on trying. Check that the broker runs, that its certificate is by `drover ca server`, and that it has our authority and a revocation list that holds (`brokerTrust`).',
    cause,
  });
