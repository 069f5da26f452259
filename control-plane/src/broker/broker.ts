import type { Socket } from 'node:net';
import { Duplex, pipeline } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { Aedes, type Client, type PublishPacket } from 'aedes';
import type { CodedError } from '@drover/shared/coded-error';
import type { DeviceId } from '@drover/shared/ids';
import { deviceOfTopic } from '@drover/shared/protocol';
import type { ServerCredentials } from '../certificate-authority/index.js';
import { isSamePassword, mayPublish, maySubscribe, SERVICE_USER, type Peer } from './access.js';
import { BrokerError } from './errors.js';
import { listenForMqtt } from './listener.js';
import { packetLimit } from './packet-limit.js';
import type { BrokerPort, DeviceAccess, ReportHandler } from './port.js';

export interface BrokerOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Present: the port speaks TLS, and devices prove themselves by certificate. */
  readonly tls?: ServerCredentials | undefined;
  readonly devices: DeviceAccess;
  /** Password of the account `service`; without one the account does not exist. */
  readonly servicePassword?: string | undefined;
  readonly now: () => number;
  /** Is told of every refused connection, topic and packet, and of handlers that failed. */
  readonly onIncident: (incident: { readonly peer: string; readonly error: unknown }) => void;
  /** A device listens to its orders from now on: what it missed can be sent. */
  readonly onSubscribed?: (device: DeviceId) => Promise<void>;
  readonly maxPacketBytes?: number;
}

/** The broker that runs within the control plane. */
export interface EmbeddedBroker extends BrokerPort {
  /** A connection that came another way (WebSocket): `stream` carries MQTT, `socket` is what lies below it. */
  accept(stream: Duplex, socket: Socket): void;
}

/** A signed report of 1 MiB and its envelope's base64. */
const DEFAULT_MAX_PACKET_BYTES = 2 * 1024 * 1024;

/**
 * The embedded MQTT 3.1.1 broker.
 *
 * Order of acknowledgement: aedes 1.2 answers a QoS 1 PUBLISH with PUBACK *before* it hands the packet to subscribers and to `published`
 * (lib/handlers/publish.js: `authorizePublish`, then PUBACK, then `broker.publish`), so neither can hold an acknowledgement back. Only
 * `authorizePublish` runs before it. Reports are therefore stored there, one after another for each connection; when storing fails, aedes gets
 * an error, drops the connection without PUBACK, and the device sends the report again after it reconnects (MQTT 3.1.1, section 4.4).
 *
 * @throws BrokerError PORT_IN_USE, BROKER_LISTEN_FAILED
 */
export async function startBroker(options: BrokerOptions): Promise<EmbeddedBroker> {
  const { host, port, devices, servicePassword, now, onIncident, onSubscribed } = options;
  const maxPacketBytes = options.maxPacketBytes ?? DEFAULT_MAX_PACKET_BYTES;
  const peers = new WeakMap<Client, Peer>();
  const below = new WeakMap<Client, Socket>();
  const queues = new WeakMap<Client, Promise<void>>();
  const refusals = new Map<string, number>();
  /** What `close` waits for: the database must not go away under it. */
  const pending = new Set<Promise<void>>();
  let handler: ReportHandler | undefined;

  const nameOf = (client: Client | null): string => {
    const peer = client ? peers.get(client) : undefined;
    return peer === undefined ? 'unknown' : peer.kind === 'device' ? peer.id : SERVICE_USER;
  };
  const refuse = (client: Client | null, error: CodedError): CodedError => {
    refusals.set(error.code, (refusals.get(error.code) ?? 0) + 1);
    onIncident({ peer: nameOf(client), error });
    return error;
  };
  /** Work that nobody waits for still has to say when it failed. */
  const inBackground = (client: Client, work: Promise<void> | undefined): void => {
    if (!work) return;
    const watched: Promise<void> = work
      .catch((error: unknown) => onIncident({ peer: nameOf(client), error }))
      .finally(() => pending.delete(watched));
    pending.add(watched);
  };

  /** docs/protocol.md, section 1: by certificate where one is shown; by password the account `service`, and devices only where there is no TLS. */
  const peerOf = async (client: Client, user: string, password: Uint8Array): Promise<Peer | string> => {
    const socket = below.get(client);
    const isEncrypted = socket instanceof TLSSocket;
    const certificate = isEncrypted ? socket.getPeerX509Certificate() : undefined;
    if (certificate) {
      const holder = await devices.holderOf(certificate);
      if (holder.kind === 'refused') return `the certificate is refused: ${holder.why}`;
      const name = holder.kind === 'device' ? holder.id : holder.name;
      if (user !== '' && user !== name) return `the certificate is that of "${name}"`;
      if (holder.kind === 'account')
        return name === SERVICE_USER ? { kind: 'service' } : `there is no account "${name}"`;
      return holder;
    }
    if (user === SERVICE_USER && servicePassword !== undefined && isSamePassword(password, servicePassword))
      return { kind: 'service' };
    if (isEncrypted) return 'over TLS a device shows its certificate';
    const device = await devices.authenticate(user, Buffer.from(password).toString('utf8'));
    return device ? { kind: 'device', id: device.id } : 'the password does not hold';
  };

  const authenticate = async (client: Client, user: string, password: Uint8Array): Promise<boolean> => {
    const peer = await peerOf(client, user, password);
    if (typeof peer === 'string') {
      refuse(client, credentialRefused(user, peer));
      return false;
    }
    // MQTT 3.1.1, section 3.1.4: a second connection under one client id ends the first. Under its own id a device can only do that to itself.
    if (peer.kind === 'device' && peer.id !== client.id) {
      refuse(client, credentialRefused(user, `it came under the client id of another, ${JSON.stringify(client.id)}`));
      return false;
    }
    peers.set(client, peer);
    return true;
  };

  const takeReport = async (topic: string, payload: Uint8Array): Promise<void> => {
    if (!handler) throw closed('The control plane does not take reports yet.');
    await handler(topic, payload);
  };

  const broker = await Aedes.createBroker({
    preConnect(_client, packet, done) {
      // No session outlives its connection: a queue for devices that are away would grow without bound, and would hand out orders
      // after their rollout was halted. A device that subscribes is told what differs (director, `settle`).
      packet.clean = true;
      done(null, true);
    },
    authenticate(client, user, password, done) {
      authenticate(client, user ?? '', password ?? Buffer.alloc(0)).then(
        (holds) => done(null, holds),
        (error: unknown) => {
          onIncident({ peer: user ?? 'unknown', error });
          // MQTT 3.1.1, table 3.1: 3 is "server unavailable", which a device retries; 5 would call its credential bad.
          done(Object.assign(new Error('authentication is not possible now'), { returnCode: 3 }), null);
        },
      );
    },
    authorizePublish(client, packet, done) {
      const peer = client ? peers.get(client) : undefined;
      if (!client || !peer || !mayPublish(peer, packet.topic)) {
        done(refuse(client, topicRefused(nameOf(client), 'publish to', packet.topic)));
        return;
      }
      packet.retain = false;
      if (!deviceOfTopic(packet.topic, 'reports')) {
        done(null);
        return;
      }
      const turn = (queues.get(client) ?? Promise.resolve()).then(() => takeReport(packet.topic, toBytes(packet)));
      // A failure ends this connection; what was queued behind it fails with it and comes again in order.
      queues.set(client, turn);
      const answered = turn.then(
        () => done(null),
        (error: unknown) => {
          onIncident({ peer: nameOf(client), error });
          done(error instanceof Error ? error : new Error(String(error)));
        },
      );
      inBackground(client, answered);
    },
    authorizeSubscribe(client, subscription, done) {
      const peer = peers.get(client);
      if (peer && maySubscribe(peer, subscription.topic)) {
        done(null, subscription);
        return;
      }
      refuse(client, topicRefused(nameOf(client), 'subscribe to', subscription.topic));
      // MQTT 3.1.1, section 3.9.3: the return code 0x80 in SUBACK; the connection stays.
      done(null, null);
    },
  });

  const connected = (client: Client, isConnected: boolean): void => {
    const peer = peers.get(client);
    if (peer?.kind === 'device')
      inBackground(client, devices.touch(peer.id, { connected: isConnected, lastSeenAt: now() }));
  };
  broker.on('clientReady', (client) => connected(client, true));
  broker.on('clientDisconnect', (client) => {
    // A device that reconnected under the same client id is still there.
    const peer = peers.get(client);
    const others = [...connections].some(
      (other) => other !== client && peer?.kind === 'device' && isDevice(peers.get(other), peer.id),
    );
    if (!others) connected(client, false);
  });
  broker.on('subscribe', (subscriptions, client) => {
    const peer = peers.get(client);
    if (
      peer?.kind === 'device' &&
      subscriptions.some(({ topic, qos }) => maySubscribe(peer, topic) && isGranted(qos))
    ) {
      inBackground(client, onSubscribed?.(peer.id));
    }
  });

  const connections = new Set<Client>();
  const sockets = new Set<Socket>();
  const accept = (stream: Duplex, socket: Socket): void => {
    sockets.add(socket);
    const limited = pipeline(stream, packetLimit(maxPacketBytes), (error) => {
      // What aedes destroys a connection with comes by here too, and was counted where it arose.
      if (error instanceof BrokerError && error.code === 'BROKER_PACKET_TOO_LARGE') refuse(client, error);
      stream.destroy();
      socket.destroy();
    });
    const client = broker.handle(Duplex.from({ readable: limited, writable: stream }));
    below.set(client, socket);
    connections.add(client);
    socket.once('close', () => {
      stream.destroy();
      sockets.delete(socket);
      connections.delete(client);
    });
  };
  const listener = await listenForMqtt({
    host,
    port,
    tls: options.tls,
    onSocket: (socket) => accept(socket, socket),
    onError: (error) => void refuse(null, error),
  });

  return {
    url: listener.url,
    accept,
    disconnect(device) {
      for (const client of connections) {
        const peer = peers.get(client);
        if (peer?.kind === 'device' && (device === 'all' || peer.id === device)) below.get(client)?.destroy();
      }
    },
    onReports(given) {
      handler = given;
    },
    publish: (topic, payload) =>
      new Promise((resolve, reject) => {
        if (broker.closed) {
          reject(closed('The broker is closed.'));
          return;
        }
        broker.publish(
          { cmd: 'publish', topic, payload: Buffer.from(payload), qos: 1, dup: false, retain: false },
          (error) => (error ? reject(error) : resolve()),
        );
      }),
    collect: () => ({ connections: connections.size, refusals: Object.fromEntries(refusals) }),
    async close() {
      const stopped = listener.close();
      await new Promise<void>((resolve) => broker.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await stopped;
      await Promise.all(pending);
    },
  };
}

const toBytes = ({ payload }: PublishPacket): Uint8Array =>
  typeof payload === 'string' ? Buffer.from(payload) : payload;
const isGranted = (qos: number): boolean => qos < 0x80;
const isDevice = (peer: Peer | undefined, id: DeviceId): boolean => peer?.kind === 'device' && peer.id === id;

const topicRefused = (peer: string, verb: string, topic: string) =>
  new BrokerError('BROKER_TOPIC_REFUSED', `${peer} may not ${verb} ${JSON.stringify(topic.slice(0, 200))}.`, {
    remedy:
      'A device publishes to its own reports and subscribes to its own orders; anything else is a defect or an attack.',
  });

const credentialRefused = (user: string, why: string) =>
  new BrokerError(
    'BROKER_CREDENTIAL_REFUSED',
    `The credential of ${JSON.stringify(user.slice(0, 100))} does not hold: ${why}.`,
    {
      remedy:
        'A device renews its certificate by itself; one that was revoked must enrol anew. Check the password of the service account.',
    },
  );

const closed = (what: string) => new BrokerError('BROKER_CLOSED', what, { remedy: 'Wait: the sender tries again.' });
