import { Agent, request, type ClientRequestArgs, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { pipeline, Readable } from 'node:stream';
import { createBrotliDecompress, createGunzip } from 'node:zlib';

export type OpenSocket = (target: URL, signal: AbortSignal) => Promise<Duplex>;

export interface HttpChannel {
  readonly fetch: typeof fetch;
  /** Drops connections that are kept: those to come begin anew. */
  reset(): void;
}

const MAX_SOCKETS = 4;
/** Responses that have no body by definition (RFC 9110, sections 9.3.2 and 15). */
const BODILESS = new Set([204, 205, 304]);

/**
 * The part of `fetch` that the agent uses, over sockets that we open ourselves: so that proxy, certificate and judgement of the server are the
 * same for HTTP as for MQTT, and without a second HTTP client in memory. It follows no redirects.
 */
export function httpOver(open: OpenSocket): HttpChannel {
  const agents = new Map<string, Agent>();
  const closing = new AbortController();

  const agentFor = (target: URL): Agent => {
    const known = agents.get(target.origin);
    if (known) return known;
    const agent = Object.assign(new Agent({ keepAlive: true, maxSockets: MAX_SOCKETS }), {
      createConnection(_options: ClientRequestArgs, callback: (error: Error | null, socket?: Duplex) => void) {
        open(target, closing.signal).then(
          (socket) => callback(null, socket),
          (error: unknown) => callback(error instanceof Error ? error : new Error(String(error))),
        );
      },
    });
    agents.set(target.origin, agent);
    return agent;
  };

  const send = (target: URL, init: RequestInit): Promise<Response> =>
    new Promise((resolve, reject) => {
      const method = init.method ?? 'GET';
      const asked = request({
        agent: agentFor(target),
        host: target.hostname.replace(/^\[|\]$/g, ''),
        port: target.port,
        method,
        path: `${target.pathname}${target.search}`,
        headers: { ...Object.fromEntries(new Headers(init.headers)), host: target.host },
        ...(init.signal ? { signal: init.signal } : {}),
      });
      asked.once('response', (answer) => resolve(toResponse(answer, method)));
      asked.once('error', reject);
      asked.end(init.body instanceof Uint8Array || typeof init.body === 'string' ? init.body : undefined);
    });

  return {
    fetch: (input, init = {}) => send(new URL(input instanceof Request ? input.url : input), init),
    reset() {
      for (const agent of agents.values()) agent.destroy();
      agents.clear();
    },
  };
}

function toResponse(answer: IncomingMessage, method: string): Response {
  const status = answer.statusCode ?? 0;
  const headers = new Headers();
  for (const [name, value] of Object.entries(answer.headers))
    for (const each of [value].flat()) if (each !== undefined) headers.append(name, each);
  if (method === 'HEAD' || BODILESS.has(status)) {
    answer.resume();
    return new Response(null, { status, headers });
  }
  return new Response(Readable.toWeb(decoded(answer)) as ReadableStream<Uint8Array>, { status, headers });
}

/** As `fetch` does: what was asked for compressed is handed on as it was before (RFC 9110, section 8.4). Whoever reads bounds what comes out. */
function decoded(answer: IncomingMessage): Readable {
  const coding = answer.headers['content-encoding'];
  const decoder = coding === 'gzip' ? createGunzip() : coding === 'br' ? createBrotliDecompress() : undefined;
  // A broken connection and broken contents both end the reading with their error.
  return decoder ? pipeline(answer, decoder, () => undefined) : answer;
}
