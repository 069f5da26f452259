import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What the mirror gives for a path; `undefined` for what it says it does not have. It may as well answer itself, or never. */
export type MirrorAnswer = (path: string, response: ServerResponse) => void;

/** A mirror at the site of the victim that is in bad hands. Until told otherwise it has nothing, which is no attack. */
export interface HostileMirror {
  readonly url: string;
  turn(answer: MirrorAnswer | undefined): void;
  close(): Promise<void>;
}

export async function startHostileMirror(): Promise<HostileMirror> {
  let answer: MirrorAnswer | undefined;
  const server = createServer((request, response) => {
    if (answer) answer(request.url ?? '', response);
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    turn: (next) => (answer = next),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
