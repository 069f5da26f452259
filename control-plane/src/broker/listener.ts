import { createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { ServerCredentials } from '../certificate-authority/index.js';
import { BrokerError } from './errors.js';

export interface ListenerOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly tls: ServerCredentials | undefined;
  readonly onSocket: (socket: Socket) => void;
  /** It listens on, but could not take a connection: too many open files, for example. */
  readonly onError: (error: BrokerError) => void;
}

export interface MqttListener {
  readonly url: string;
  close(): Promise<void>;
}

/** Time for a TLS handshake: a connection that never finishes one must not be kept. */
const HANDSHAKE_TIMEOUT_MS = 15_000;

/**
 * The port for MQTT over TCP or TLS. A client certificate is asked for, but who came without one, or with one that does not hold, is judged at
 * the CONNECT packet: there a refusal has a code that the device understands, and the account `service` may come with a password.
 *
 * @throws BrokerError PORT_IN_USE, BROKER_LISTEN_FAILED
 */
export async function listenForMqtt({ host, port, tls, onSocket, onError }: ListenerOptions): Promise<MqttListener> {
  const server = openServer(tls, onSocket);
  const listening = await listen(server, host, port);
  server.on('error', (cause) => onError(listenFailed(`${host}:${listening}`, cause)));
  return {
    url: `${tls ? 'mqtts' : 'mqtt'}://${host.includes(':') ? `[${host}]` : host}:${listening}`,
    close: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}

function openServer(tls: ServerCredentials | undefined, onSocket: (socket: Socket) => void): Server {
  // An acknowledgement is a packet of four bytes: held back for more to come (RFC 896), it costs a device some 40 ms per report.
  if (!tls) return createTcpServer({ noDelay: true }, onSocket);
  const server = createTlsServer(
    {
      ...tls.current(),
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      noDelay: true,
    },
    onSocket,
  );
  // A handshake that failed is the client's to explain: it knows why it did not believe us.
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  tls.onChange((credentials) => server.setSecureContext(credentials));
  return server;
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const fail = (cause: NodeJS.ErrnoException): void => {
      const where = `${host}:${port}`;
      reject(
        cause.code === 'EADDRINUSE'
          ? new BrokerError('PORT_IN_USE', `The port ${port} is taken by another process.`, {
              where,
              remedy: 'Stop that process, or choose another port (DROVER_MQTT_PORT).',
              cause,
            })
          : listenFailed(where, cause),
      );
    };
    server.once('error', fail);
    server.listen(port, host, () => {
      server.off('error', fail);
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : port);
    });
  });
}

const listenFailed = (where: string, cause: Error) =>
  new BrokerError('BROKER_LISTEN_FAILED', `The broker cannot listen: ${cause.message}.`, {
    where,
    remedy: 'Check host and port of the broker (DROVER_MQTT_HOST, DROVER_MQTT_PORT), and the limit of open files.',
    cause,
  });
