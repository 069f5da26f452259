import type { Duplex } from 'node:stream';
import { createWebSocketStream, WebSocket } from 'ws';
import { LinkError } from '../errors.js';

/** MQTT 3.1.1, section 6: the name that both ends agree on. */
const SUBPROTOCOL = 'mqtt';
const HANDSHAKE_TIMEOUT_MS = 20_000;

/**
 * A WebSocket over a socket that is open and secured. mqtt.js would make one by itself, but tells nobody when the server refuses the upgrade.
 *
 * @throws LinkError LINK_UNREACHABLE when the other end takes no WebSocket there
 */
export function overWebSocket(socket: Duplex, url: URL, signal: AbortSignal): Promise<Duplex> {
  const webSocket = new WebSocket(url, SUBPROTOCOL, {
    createConnection: () => socket,
    perMessageDeflate: false,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
  });
  const onAbort = (): void => webSocket.terminate();
  signal.addEventListener('abort', onAbort, { once: true });
  return new Promise<Duplex>((resolve, reject) => {
    webSocket.once('open', () => {
      const stream = createWebSocketStream(webSocket);
      // By itself it stays open for writing when the other end breaks off, and whoever holds it learns nothing until it writes.
      webSocket.once('close', () => stream.destroy());
      resolve(stream);
    });
    webSocket.once('error', (cause) =>
      reject(
        new LinkError('LINK_UNREACHABLE', `No broker takes WebSockets there: ${cause.message}.`, {
          where: url.href,
          remedy: 'The agent goes on trying. If it stays so, check the address, and the proxies on the way to it.',
          cause,
        }),
      ),
    );
  }).finally(() => signal.removeEventListener('abort', onAbort));
}
