import { MqttClient, type IClientOptions } from 'mqtt';
import { ordersTopic, reportsTopic } from '@drover/shared/protocol';
import type { DeviceId } from '@drover/shared/ids';
import { backoffMs, raceAbort, type BackoffBounds, type Clock } from '../host/index.js';
import { isSecure, toTlsError, type Channel } from './channel/index.js';
import { overWebSocket } from './channel/websocket.js';
import { LinkError } from './errors.js';
import type { ReportQueue } from './outbox.js';

export interface LinkOptions {
  /** `mqtt:`, `mqtts:`, `ws:` or `wss:`. Tried in turn, beginning with the one that last held, since a network may let only one of them pass. */
  readonly urls: readonly string[];
  readonly channel: Pick<Channel, 'open'>;
  readonly deviceId: DeviceId;
  /** Password where there is no TLS; the user name is the device id. */
  readonly credential?: string | undefined;
  readonly outbox: ReportQueue;
  readonly clock: Pick<Clock, 'sleep' | 'monotonic'>;
  /** One signed order. It is acknowledged to the broker when the promise resolves, so resolve once the order is stored. */
  readonly onOrder: (envelope: Uint8Array) => Promise<void>;
  /** Subscribed and ready: the moment to state what runs here. */
  readonly onConnected: (url: string) => void;
  /** The connection could not be made or was lost; the link goes on trying. */
  readonly onProblem: (error: LinkError) => void;
  readonly backoff?: BackoffBounds;
  readonly keepaliveS?: number;
}

export interface Link {
  isConnected(): boolean;
  /** Ends the present connection and makes a new one, with the certificate that is in force now. */
  reconnect(): void;
  close(): Promise<void>;
}

/** No order is larger (docs/protocol.md, section 2). */
const MAX_ORDER_BYTES = 2 * 1024 * 1024;
const CONNECT_TIMEOUT_MS = 20_000;
const MQTT_CONNECT_REFUSALS: Readonly<Record<number, string>> = {
  1: 'unacceptable protocol version',
  2: 'identifier rejected',
  3: 'server unavailable',
  4: 'bad user name or password',
  5: 'not authorized',
};

/**
 * Keeps one MQTT 3.1.1 connection to the broker, for ever. Returns at once: a broker that is down keeps nothing from starting. It asks for a
 * persistent session (MQTT 3.1.1, section 3.1.2.4), which spares a round of sending where a broker grants it; ours does not, and nothing
 * depends on it (docs/protocol.md, sections 1 and 4).
 *
 * Each attempt is a new client: mqtt.js by itself reconnects at a constant period, which makes a fleet come back in step, and stops for good
 * after a refused CONNACK unless told otherwise. Reports in flight lie in the outbox, so nothing is lost with a client.
 */
export function openLink(options: LinkOptions): Link {
  const { clock, backoff = { firstMs: 500, maxMs: 60_000 } } = options;
  const closing = new AbortController();
  const isClosing = () => closing.signal.aborted;
  let client: MqttClient | undefined;
  /** Clients that we ended ourselves: nothing went wrong. */
  const asked = new WeakSet<MqttClient>();

  /** Ends the pause before the next attempt: there is reason to hope. */
  let awake = new AbortController();

  /** Index into `urls`. */
  let turn = 0;
  async function stayConnected(): Promise<void> {
    for (let failures = 0; !isClosing(); failures += 1) {
      const beganAtMs = clock.monotonic();
      const url = options.urls[turn % options.urls.length] ?? '';
      const { problem, wasUp } = await attemptSession(url);
      if (isClosing()) return;
      if (!wasUp) turn += 1;
      if (problem) options.onProblem(problem);
      // A connection that breaks at once each time (an order that can't be stored) is a failure as well.
      if (!problem || clock.monotonic() - beganAtMs >= backoff.maxMs) failures = 0;
      const pause = AbortSignal.any([closing.signal, awake.signal]);
      await clock.sleep(backoffMs(backoff, failures), pause).catch(() => undefined);
    }
  }
  async function attemptSession(url: string): Promise<Ended> {
    try {
      client = await openClient(url, options, closing.signal);
    } catch (error) {
      return { problem: error instanceof LinkError ? error : toLinkError(error, url, false), wasUp: false };
    }
    return session(client, url, options, closing.signal, asked);
  }
  const running = stayConnected();
  return {
    isConnected: () => client?.connected ?? false,
    reconnect() {
      awake.abort();
      awake = new AbortController();
      if (!client) return;
      asked.add(client);
      client.end(true);
    },
    async close() {
      closing.abort();
      await running;
    },
  };
}

interface Ended {
  /** Undefined when we ended it ourselves. */
  readonly problem: LinkError | undefined;
  readonly wasUp: boolean;
}

/** The socket is open, secured and judged before mqtt.js gets it: it never sees a server that we do not believe. */
async function openClient(url: string, options: LinkOptions, signal: AbortSignal): Promise<MqttClient> {
  const target = new URL(url);
  const socket = await options.channel.open(target, signal);
  const stream = /^wss?:/.test(url) ? await overWebSocket(socket, target, signal) : socket;
  return new MqttClient(() => stream, clientOptions(options, url));
}

function clientOptions({ deviceId, credential, keepaliveS = 60 }: LinkOptions, url: string): IClientOptions {
  return {
    protocolVersion: 4,
    clientId: deviceId,
    username: deviceId,
    // Over TLS the certificate proves this device; its password, where it has one, is for connections without.
    ...(credential === undefined || isSecure(url) ? {} : { password: credential }),
    // What waits for a device that is away is for the director to say, not for a broker (docs/protocol.md, section 1).
    clean: true,
    keepalive: keepaliveS,
    connectTimeout: CONNECT_TIMEOUT_MS,
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    // mqtt.js otherwise makes one buffer for each of the 65,536 numbers that fit two bytes: 7 MiB, to write a few packets a second.
    writeCache: false,
  };
}

/** Lives as long as one connection; resolves with the reason for its end and leaves no socket behind. */
async function session(
  client: MqttClient,
  url: string,
  options: LinkOptions,
  closing: AbortSignal,
  asked: WeakSet<MqttClient>,
): Promise<Ended> {
  const ended = new AbortController();
  let reason: unknown;
  let wasUp = false;
  const isOver = new Promise<void>((resolve) => client.once('close', resolve));
  client.on('error', (error) => {
    reason ??= error;
    client.end(true);
  });
  client.handleMessage = (packet, acknowledge) => {
    const payload = Buffer.from(packet.payload);
    if (packet.topic !== ordersTopic(options.deviceId) || payload.length > MAX_ORDER_BYTES) {
      acknowledge();
      return;
    }
    options.onOrder(payload).then(
      () => acknowledge(),
      (error: unknown) => {
        // The director sends it again when we come back and state what we have (docs/protocol.md, section 4).
        reason ??= error;
        client.end(true);
      },
    );
  };
  client.once('connect', () => {
    void serve().catch((error: unknown) => {
      reason ??= error;
      client.end(true);
    });
  });
  async function serve(): Promise<void> {
    await client.subscribeAsync(ordersTopic(options.deviceId), { qos: 1 });
    wasUp = true;
    options.onConnected(url);
    await drain(options.outbox, ended.signal, async (bytes) => {
      await client.publishAsync(reportsTopic(options.deviceId), Buffer.from(bytes), { qos: 1 });
    });
  }
  // By force: waiting for a PUBACK could take for ever, and what was not acknowledged stays in the outbox.
  const onClosing = () => client.end(true);
  closing.addEventListener('abort', onClosing, { once: true });
  await isOver;
  closing.removeEventListener('abort', onClosing);
  ended.abort();
  client.end(true);
  return { problem: asked.has(client) ? undefined : toLinkError(reason, url, wasUp), wasUp };
}

/**
 * Sends what the queue holds, oldest first, one at a time, and waits for more until the signal ends it. A report is removed only after its
 * PUBACK, so each arrives at least once and in order.
 */
export async function drain(
  queue: ReportQueue,
  signal: AbortSignal,
  publish: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  let wake: () => void = () => undefined;
  const stop = queue.onAdded(() => wake());
  const onAbort = () => wake();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    while (!signal.aborted) {
      const added = new Promise<void>((resolve) => (wake = resolve));
      const report = queue.head();
      if (!report) {
        await added;
        continue;
      }
      await raceAbort(publish(report.bytes), signal);
      queue.remove(report.sequence);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    stop();
    signal.removeEventListener('abort', onAbort);
  }
}

function toLinkError(reason: unknown, url: string, wasUp: boolean): LinkError {
  const returnCode = reason instanceof Error && 'code' in reason ? reason.code : undefined;
  const refusal = typeof returnCode === 'number' ? MQTT_CONNECT_REFUSALS[returnCode] : undefined;
  const facts = { where: url, cause: reason };
  if (refusal !== undefined) {
    return new LinkError(
      'LINK_REFUSED',
      `The broker refused the connection: ${refusal} (CONNACK ${String(returnCode)}).`,
      {
        ...facts,
        remedy: 'The agent goes on trying. If it stays so, check that this device is enrolled and not revoked.',
      },
    );
  }
  // With TLS 1.3 the server's word on our certificate comes after our side of the handshake (RFC 8446, section 4.4.2.4).
  if (isSecure(url) && reason instanceof Error && typeof returnCode === 'string' && returnCode.startsWith('ERR_SSL_'))
    return toTlsError(reason, new URL(url));
  const detail = reason instanceof Error ? `: ${reason.message}` : '';
  const remedy = 'The agent goes on trying and keeps its reports. If it stays so, check the network and the broker.';
  return wasUp
    ? new LinkError('LINK_LOST', `The connection to the broker was lost${detail}.`, { ...facts, remedy })
    : new LinkError('LINK_UNREACHABLE', `The broker cannot be reached${detail}.`, { ...facts, remedy });
}
