import { request as ask, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { pipeline } from 'node:stream';
import type { Handover } from '../handover.js';

/** Concern one connection each (RFC 9110, section 7.6.1). */
const OF_A_CONNECTION: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'expect',
]);

/** Has the successor answer. Where it can't be reached, or breaks off, so does the connection, as when this process ends. Resolves when the client has its answer, or has gone. */
export async function handOn(request: IncomingMessage, response: ServerResponse, handover: Handover): Promise<void> {
  const { host, port } = await handover.successor;
  if (response.destroyed) return;
  const { method, url: path } = request;
  const asked = ask({ agent: false, host, port, method, path, headers: withoutHops(request.headers) });
  let isAnswered = false;
  asked.once('response', (answer) => {
    isAnswered = true;
    response.writeHead(answer.statusCode ?? 502, withoutHops(answer.headers));
    pipeline(answer, response, () => undefined);
  });
  // An answer may come before the end of the request, and end what still writes it.
  asked.on('error', () => {
    if (!isAnswered) response.destroy();
  });
  request.pipe(asked);
  await new Promise<void>((resolve) => response.once('close', resolve));
  asked.destroy();
}

const withoutHops = (headers: IncomingHttpHeaders): IncomingHttpHeaders =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !OF_A_CONNECTION.has(name)));
