import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import { overWebSocket } from '../../../src/link/channel/websocket.js';

const { signal } = new AbortController();

describe('a connection over WebSocket', () => {
  let server: Server;
  let sockets: WebSocketServer;
  let raw: Socket;

  const open = async () => {
    const { port } = server.address() as AddressInfo;
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return overWebSocket(socket, new URL(`ws://127.0.0.1:${port}/mqtt`), signal);
  };

  beforeEach(async () => {
    server = createServer();
    sockets = new WebSocketServer({ server, handleProtocols: () => 'mqtt' });
    sockets.on('connection', (webSocket, { socket }) => {
      raw = socket;
      webSocket.on('message', (bytes) => webSocket.send(bytes));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(() => {
    for (const each of sockets.clients) each.terminate();
    server.close();
  });

  it('carries what is written', async () => {
    const stream = await open();
    stream.write('here');
    expect(String((await once(stream, 'data'))[0])).toBe('here');
    stream.destroy();
  });

  it('when the other end breaks off, closes at once, though nobody writes', async () => {
    const stream = await open();
    stream.resume();
    const closed = once(stream, 'close');
    raw.destroy();
    await closed;
    expect(stream.destroyed).toBe(true);
  });
});
