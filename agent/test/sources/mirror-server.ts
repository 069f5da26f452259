import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Answer = (request: IncomingMessage, response: ServerResponse, body: Buffer) => void;

/** What stands at a site: passes content on from elsewhere, until it is told to behave otherwise. */
export interface MirrorServer {
  readonly url: string;
  /** Paths that it was asked for, and whether a credential came with it. */
  readonly requests: { path: string; authorization: string | undefined }[];
  /** In place of the true answer, for content. */
  answer: Answer | undefined;
  /** In place of the true answer, for metadata. */
  metadata: ((name: string) => Uint8Array | undefined) | undefined;
  close(): Promise<void>;
}

/** @param authorization what it shows to the server behind it */
export async function mirrorServer(upstream: string, authorization: string): Promise<MirrorServer> {
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    mirror.requests.push({ path, authorization: request.headers.authorization });
    void forward(request, response, path).catch(() => response.destroy());
  });
  async function forward(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    const name = /\/metadata\/(.+)$/.exec(path)?.[1];
    if (name !== undefined && mirror.metadata) {
      const bytes = mirror.metadata(name);
      response.writeHead(bytes ? 200 : 404).end(bytes);
      return;
    }
    const { range } = request.headers;
    const answer = await fetch(`${upstream}${path}`, { headers: { authorization, ...(range ? { range } : {}) } });
    const body = Buffer.from(await answer.arrayBuffer());
    if (name === undefined && mirror.answer) {
      mirror.answer(request, response, body);
      return;
    }
    const contentRange = answer.headers.get('content-range');
    response.writeHead(answer.status, contentRange === null ? {} : { 'content-range': contentRange }).end(body);
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const mirror: MirrorServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: [],
    answer: undefined,
    metadata: undefined,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return mirror;
}
