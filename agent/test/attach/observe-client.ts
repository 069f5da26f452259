import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

/** An answer of the agent over the observe socket. */
export interface ObserveAnswer {
  readonly type: 'welcome' | 'labelled' | 'bye' | 'error';
  readonly id?: string;
  readonly code?: string;
  readonly error?: string;
}

/** A bare connection to the observe socket. */
export interface ObserveClient {
  readonly socket: Socket;
  readonly answers: ObserveAnswer[];
  /** Resolves when the agent has closed the connection. */
  readonly closed: Promise<unknown>;
  say(message: object): void;
}

export async function observeClient(path: string, hello?: object): Promise<ObserveClient> {
  const socket = createConnection(path);
  // A connection that is cut while it still sends is no error of the test.
  socket.on('error', () => undefined);
  const answers: ObserveAnswer[] = [];
  createInterface({ input: socket })
    .on('line', (line) => answers.push(JSON.parse(line) as ObserveAnswer))
    .on('error', () => undefined);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await once(socket, 'connect');
  const client = {
    socket,
    answers,
    closed,
    say: (message: object) => void socket.write(`${JSON.stringify(message)}\n`),
  };
  if (hello) client.say({ type: 'hello', protocol: 1, model: 'classifier', ...hello });
  return client;
}
