import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { toCodedErrorJson, type CodedErrorJson } from '@drover/shared/coded-error';
import type { MonitorCode } from '../../../monitor/errors.js';
import { ServeError, type ServeCode } from '../../errors.js';
import type { ConnectionServer } from '../connection-server.js';
import type { ClientSignal } from '../../scheduling/run-queue.js';
import type { Handover } from '../handover.js';
import { handOn } from './hand-on.js';
import { handle, type HandlerOptions, type Reply } from './handlers.js';
import { METHODS, routeOf } from './routes.js';

export interface RestServerOptions extends HandlerOptions {
  /** Requests that may be under way at once; more are answered 503. */
  readonly maxPending?: number;
  readonly handover: Handover;
}

const DEFAULT_MAX_PENDING = 256;
const KEEP_ALIVE_MS = 60_000;
const REQUEST_TIMEOUT_MS = 30_000;
const CLOSE_TIMEOUT_MS = 5_000;
const REST_OF_BODY_TIMEOUT_MS = 2_000;
/** The longest silence, and one request more. */
const RETIRE_TIMEOUT_MS = KEEP_ALIVE_MS + REQUEST_TIMEOUT_MS;
const CLOSE_IDLE_EVERY_MS = 20;
/** Copying so few bytes costs less than one more buffer to write. */
const SMALL_BYTES = 16 * 1024;

const STATUS: Readonly<Partial<Record<string, number>>> = {
  REQUEST_INVALID: 400,
  INPUT_CONTRACT_VIOLATED: 422,
  MODEL_NOT_SERVED: 404,
  PARAMETERS_NOT_IN_FORCE: 404,
  FEEDBACK_SAMPLE_GONE: 404,
  FEEDBACK_CONFLICTS: 409,
  LABEL_REQUEST_UNKNOWN: 404,
  REQUEST_TOO_LARGE: 413,
  SHARED_MEMORY_OFF: 400,
  SEQUENCE_UNKNOWN: 400,
  SEQUENCE_LOST: 410,
  SEQUENCE_LIMIT: 503,
  REQUEST_EXPIRED: 503,
  REQUEST_CANCELLED: 503,
  SERVE_OVERLOADED: 503,
  TELEMETRY_OVERLOADED: 503,
  MODEL_BEING_REPLACED: 503,
} satisfies Partial<Record<ServeCode | MonitorCode, number>>;

/** The client should wait a moment before it sends the request again. */
const RETRY_SOON: ReadonlySet<string> = new Set<ServeCode | MonitorCode>([
  'SERVE_OVERLOADED',
  'SEQUENCE_LIMIT',
  'TELEMETRY_OVERLOADED',
  'MODEL_BEING_REPLACED',
]);

/** Open Inference Protocol v2, REST, on plain node:http: this is the data path. */
export function createRestServer(options: RestServerOptions): ConnectionServer {
  const { maxBodyBytes, maxPending = DEFAULT_MAX_PENDING, models, memory, serverVersion, handover } = options;
  const handlers: HandlerOptions = { models, memory, serverVersion, maxBodyBytes };
  const sockets = new Set<Socket>();
  let pending = 0;
  let closing: (() => void) | undefined;
  const server = createServer(
    { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: 10_000, keepAliveTimeout: KEEP_ALIVE_MS },
    (request, response) => {
      if (closing || handover.hasBegun) response.shouldKeepAlive = false;
      if (pending >= maxPending) {
        refuse(request, response, overloaded(maxPending).toJSON());
        return;
      }
      pending += 1;
      const answered = handover.hasBegun ? handOn(request, response, handover) : answer(request, response, handlers);
      void answered.finally(() => (pending -= 1));
    },
  );
  // Only after this event does node:http look after the time-outs of its connections.
  server.emit('listening');
  /** @param idleEveryMs how often silent connections are ended; never where it is not given */
  const end = (timeoutMs: number, idleEveryMs?: number): Promise<void> =>
    new Promise((resolve) => {
      const idle =
        idleEveryMs === undefined ? undefined : setInterval(() => server.closeIdleConnections(), idleEveryMs);
      const timer = setTimeout(() => server.closeAllConnections(), timeoutMs);
      closing = () => {
        clearInterval(idle);
        clearTimeout(timer);
        // Ends what looks after time-outs. That it does not listen itself is known.
        server.close(() => resolve());
      };
      if (idleEveryMs !== undefined) server.closeIdleConnections();
      if (sockets.size === 0) closing();
    });
  return {
    take(socket) {
      sockets.add(socket);
      socket.once('close', () => {
        sockets.delete(socket);
        if (sockets.size === 0) closing?.();
      });
      server.emit('connection', socket);
    },
    close: () => end(CLOSE_TIMEOUT_MS, CLOSE_IDLE_EVERY_MS),
    // A connection that is ended while it is silent may be one on which a request is under way already.
    retire: () => end(RETIRE_TIMEOUT_MS),
  };
}

async function answer(request: IncomingMessage, response: ServerResponse, handlers: HandlerOptions): Promise<void> {
  const route = routeOf(request.url ?? '/');
  if (!route) {
    refuse(request, response, wrongPath('There is nothing at this path.'), {}, 404);
    return;
  }
  const method = METHODS[route.kind];
  if (request.method !== method && !(request.method === 'HEAD' && method === 'GET')) {
    refuse(request, response, wrongPath(`This path takes ${method}.`), { allow: method }, 405);
    return;
  }
  try {
    write(response, await handle(route, request, handlers, new WhileWanted(response)));
  } catch (error) {
    refuse(request, response, toCodedErrorJson(error));
  }
}

/** Aborted when the client closes the connection before it has its answer. Costs nothing where nobody listens, as for what is run at once. */
class WhileWanted implements ClientSignal {
  readonly #response: ServerResponse;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  get aborted(): boolean {
    return this.#response.closed && !this.#response.writableEnded;
  }

  addEventListener(_type: 'abort', listener: () => void): void {
    this.#response.once('close', listener);
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    this.#response.off('close', listener);
  }
}

function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  error: CodedErrorJson,
  headers: Readonly<Record<string, string>> = {},
  status = STATUS[error.code] ?? 500,
): void {
  const retry = RETRY_SOON.has(error.code) ? { 'retry-after': '1' } : {};
  const reply = {
    status,
    json: JSON.stringify({ error: error.what, code: error.code, remedy: error.remedy }),
    headers: { ...retry, ...headers },
  };
  if (request.complete) write(response, reply);
  else writeBeforeEnd(request, response, reply);
}

/**
 * Answers a request whose body is not read to its end, and would stand in the way of the next one: the connection ends. Not at once, since a client that is still
 * writing would be told of a broken connection in place of the answer (RFC 9112, section 9.6): what it sends is passed over until it is done, or for a while.
 */
function writeBeforeEnd(request: IncomingMessage, response: ServerResponse, reply: Reply): void {
  if (response.destroyed) return;
  response.shouldKeepAlive = false;
  writeHead(response, reply);
  response.write(reply.json);
  const timer = setTimeout(() => response.end(), REST_OF_BODY_TIMEOUT_MS);
  const end = (): void => {
    clearTimeout(timer);
    response.end();
  };
  request.once('end', end).once('close', end).resume();
}

function write(response: ServerResponse, reply: Reply): void {
  if (response.destroyed) return;
  const bytes = writeHead(response, reply);
  const { json, binary = [] } = reply;
  if (binary.length === 0) {
    response.end(json);
    return;
  }
  if (bytes <= SMALL_BYTES) {
    const body = Buffer.allocUnsafe(bytes);
    let offset = body.write(json);
    for (const part of binary) {
      body.set(part, offset);
      offset += part.length;
    }
    response.end(body);
    return;
  }
  // No copy of what is large.
  response.cork();
  response.write(json);
  for (const part of binary) response.write(part);
  response.end();
  response.uncork();
}

/** @returns the length of the body */
function writeHead(response: ServerResponse, { status, json, binary = [], headers = {} }: Reply): number {
  const jsonBytes = Buffer.byteLength(json);
  let bytes = jsonBytes;
  for (const part of binary) bytes += part.length;
  const content =
    binary.length === 0
      ? ['content-type', 'application/json', 'content-length', bytes]
      : [
          'content-type',
          'application/octet-stream',
          'inference-header-content-length',
          jsonBytes,
          'content-length',
          bytes,
        ];
  // RFC 9110, section 15.4.5: 304 says nothing about a body that it has not got.
  response.writeHead(status, [...(status === 304 ? [] : content), ...Object.entries(headers).flat()]);
  return bytes;
}

const wrongPath = (what: string): CodedErrorJson =>
  new ServeError('REQUEST_INVALID', what, {
    remedy: 'Use the paths of the Open Inference Protocol v2, REST.',
  }).toJSON();

const overloaded = (maxPending: number): ServeError =>
  new ServeError('SERVE_OVERLOADED', `${maxPending} requests are under way already.`, {
    remedy: 'Send the request again, later or slower.',
  });
