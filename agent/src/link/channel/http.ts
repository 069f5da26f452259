import { Agent, request, type ClientRequestArgs, type IncomingMessage } from 'node:http';
import { pipeline, type Duplex, type Transform } from 'node:stream';
import { createBrotliDecompress, createGunzip } from 'node:zlib';
import { LinkError } from '../errors.js';

export type OpenSocket = (target: URL, signal: AbortSignal) => Promise<Duplex>;

export interface HttpRequest {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: Uint8Array<ArrayBuffer>;
  readonly signal?: AbortSignal;
}

export interface HttpAnswer {
  readonly ok: boolean;
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  /** As it was before any compression. Whoever does not read it to the end gives up its connection. */
  readonly body: AsyncIterable<Uint8Array> | null;
}

/** The part of `fetch` that the agent uses; Node's own is one. */
export type HttpFetch = (url: string, request?: HttpRequest) => Promise<HttpAnswer>;

/** @throws LinkError LINK_ANSWER_UNREADABLE where there are more; what broke the connection */
export async function readBody({ body }: Pick<HttpAnswer, 'body'>, maxBytes: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of body ?? []) {
    bytes += part.length;
    if (bytes > maxBytes) {
      throw new LinkError('LINK_ANSWER_UNREADABLE', `The answer has more than ${maxBytes} bytes.`, {
        remedy: 'Check the address: the control plane never answers with so much here.',
      });
    }
    parts.push(part);
  }
  return Buffer.concat(parts);
}

export interface HttpChannel {
  readonly fetch: HttpFetch;
  /** Drops connections that are kept: those to come begin anew. */
  reset(): void;
}

const MAX_SOCKETS = 4;
/** Content codings (RFC 9110, section 8.4.1) that the agent asks for. */
const DECODERS: Readonly<Record<string, () => Transform>> = { gzip: createGunzip, br: createBrotliDecompress };

/**
 * HTTP over sockets that we open ourselves: so that proxy, certificate and judgement of the server are the same for HTTP as for MQTT, and without Node's
 * `fetch`, which takes 14 MiB of memory. It follows no redirects.
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

  const send = (target: URL, { method = 'GET', headers, body, signal }: HttpRequest): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const asked = request({
        agent: agentFor(target),
        host: target.hostname.replace(/^\[|\]$/g, ''),
        port: target.port,
        method,
        path: `${target.pathname}${target.search}`,
        headers: { ...headers, host: target.host },
        ...(signal ? { signal } : {}),
      });
      asked.once('response', resolve);
      asked.once('error', reject);
      asked.end(body);
    });

  return {
    async fetch(url, request = {}) {
      return toAnswer(await send(new URL(url), request), url);
    },
    reset() {
      for (const agent of agents.values()) agent.destroy();
      agents.clear();
    },
  };
}

function toAnswer(answer: IncomingMessage, where: string): HttpAnswer {
  const { statusCode: status = 0, headers } = answer;
  return {
    status,
    ok: status >= 200 && status < 300,
    headers: { get: (name) => [headers[name.toLowerCase()] ?? null].flat()[0] ?? null },
    body: decoded(answer, where),
  };
}

/** A stream: whoever reads it bounds what comes out. */
function decoded(answer: IncomingMessage, where: string): AsyncIterable<Uint8Array> {
  const coding = answer.headers['content-encoding']?.toLowerCase() ?? 'identity';
  if (coding === 'identity') return answer;
  const decoder = DECODERS[coding];
  if (decoder) return pipeline(answer, decoder(), () => undefined);
  answer.destroy();
  throw new LinkError(
    'LINK_ANSWER_UNREADABLE',
    `The answer is coded as "${coding.slice(0, 40)}", which was not asked for.`,
    {
      where,
      remedy: 'Check proxies and caches between the device and the control plane.',
    },
  );
}
