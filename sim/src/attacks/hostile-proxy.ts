import { createServer, request as forward, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What the network does with one request of the device. It must answer or destroy it. */
export type Hostility = (request: IncomingMessage, response: ServerResponse, pass: () => void) => void;

/** Whoever sits between a device and its control plane: passes everything on until told otherwise. */
export interface HostileProxy {
  readonly url: string;
  /** From now on, for requests whose path fits; `undefined` ends it. */
  turn(path: RegExp, hostility: Hostility | undefined): void;
  /** Paths that were asked for while it was hostile. */
  readonly struck: readonly string[];
  close(): Promise<void>;
}

export async function startHostileProxy(targetUrl: string): Promise<HostileProxy> {
  const target = new URL(targetUrl);
  let hostile: { readonly path: RegExp; readonly act: Hostility } | undefined;
  const struck: string[] = [];
  const server = createServer((request, response) => {
    const pass = (): void => {
      const { hostname, port } = target;
      const onward = forward(
        { hostname, port, path: request.url, method: request.method, headers: request.headers },
        (answer) => {
          response.writeHead(answer.statusCode ?? 502, answer.headers);
          answer.pipe(response);
        },
      );
      onward.on('error', () => response.destroy());
      request.pipe(onward);
    };
    if (!hostile?.path.test(request.url ?? '')) {
      pass();
      return;
    }
    struck.push(request.url ?? '');
    hostile.act(request, response, pass);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    turn(path, act) {
      struck.length = 0;
      hostile = act && { path, act };
    },
    struck,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
