import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { Socket } from 'node:net';
import { createWebSocketStream, WebSocketServer } from 'ws';

/** Where the broker takes WebSockets, on the address of the API (docs/protocol.md, section 1). */
export const WEBSOCKET_PATH = '/mqtt';
/** MQTT 3.1.1, section 6: the name that both ends agree on. */
const SUBPROTOCOL = 'mqtt';

export interface WebSocketOptions {
  readonly server: Server;
  readonly maxMessageBytes: number;
  readonly accept: (stream: Duplex, socket: Socket) => void;
}

/**
 * MQTT over WebSocket (MQTT 3.1.1, section 6) on a server for HTTP that is there already, for networks that let only its port pass. The
 * connection below is the same as for any request, so a client certificate counts here as it does there.
 */
export function acceptWebSockets({ server, maxMessageBytes, accept }: WebSocketOptions): { close(): void } {
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: maxMessageBytes,
    perMessageDeflate: false,
    handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
  });
  const refuse = (socket: Duplex, status: string): void => {
    socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  };
  const onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    socket.on('error', () => socket.destroy());
    if (request.url?.split('?')[0] !== WEBSOCKET_PATH || !(socket instanceof Socket)) {
      refuse(socket, '404 Not Found');
      return;
    }
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
    if (!offered.includes(SUBPROTOCOL)) {
      refuse(socket, '400 Bad Request');
      return;
    }
    socket.setNoDelay(true);
    sockets.handleUpgrade(request, socket, head, (webSocket) => accept(createWebSocketStream(webSocket), socket));
  };
  server.on('upgrade', onUpgrade);
  return {
    close() {
      server.off('upgrade', onUpgrade);
      for (const each of sockets.clients) each.terminate();
      sockets.close();
    },
  };
}
