import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { toCodedErrorJson, type CodedErrorJson } from '@drover/shared/coded-error';
import { ServeError, type ServeCode } from '../../errors.js';
import type { ConnectionServer } from '../connection-server.js';
import { handle, type HandlerOptions, type Reply } from './handlers.js';
import { METHODS, routeOf } from './routes.js';

export interface RestServerOptions extends HandlerOptions {
  /** Requests that may be under way at once; more are answered 503. */
  readonly maxPending?: number;
}

const DEFAULT_MAX_PENDING = 256;
const CLOSE_TIMEOUT_MS = 5_000;
const CLOSE_IDLE_EVERY_MS = 20;
/** Copying so few bytes costs less than one more buffer to write. */
const SMALL_BYTES = 16 * 1024;

const STATUS: Readonly<Partial<Record<string, number>>> = {
  REQUEST_INVALID: 400,
  MODEL_NOT_SERVED: 404,
  PARAMETERS_NOT_IN_FORCE: 404,
  REQUEST_TOO_LARGE: 413,
  SHARED_MEMORY_OFF: 400,
  REQUEST_EXPIRED: 503,
  REQUEST_CANCELLED: 503,
  SERVE_OVERLOADED: 503,
} satisfies Partial<Record<ServeCode, number>>;

/** Open Inference Protocol v2, REST, on plain node:http: this is the data path. */
export function createRestServer(options: RestServerOptions): ConnectionServer {
  const { maxBodyBytes, maxPending = DEFAULT_MAX_PENDING, models, memory, serverVersion } = options;
  const handlers: HandlerOptions = { models, memory, serverVersion, maxBodyBytes };
  const sockets = new Set<Socket>();
  let pending = 0;
  let closing: (() => void) | undefined;
  const server = createServer(
    { requestTimeout: 30_000, headersTimeout: 10_000, keepAliveTimeout: 60_000 },
    (request, response) => {
      if (closing) response.shouldKeepAlive = false;
      if (pending >= maxPending) {
        refuse(request, response, overloaded(maxPending).toJSON());
        return;
      }
      pending += 1;
      void answer(request, response, handlers).finally(() => (pending -= 1));
    },
  );
  // Only after this event does node:http look after the time-outs of its connections.
  server.emit('listening');
  return {
    take(socket) {
      sockets.add(socket);
      socket.once('close', () => {
        sockets.delete(socket);
        if (sockets.size === 0) closing?.();
      });
      server.emit('connection', socket);
    },
    close: () =>
      new Promise((resolve) => {
        const idle = setInterval(() => server.closeIdleConnections(), CLOSE_IDLE_EVERY_MS);
        const timer = setTimeout(() => server.closeAllConnections(), CLOSE_TIMEOUT_MS);
        closing = () => {
          clearInterval(idle);
          clearTimeout(timer);
          // Ends what looks after time-outs. That it does not listen itself is known.
          server.close(() => resolve());
        };
        server.closeIdleConnections();
        if (sockets.size === 0) closing();
      }),
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
    write(response, await handle(route, request, { ...handlers, signal: whileWanted(response) }));
  } catch (error) {
    refuse(request, response, toCodedErrorJson(error));
  }
}

/** Aborted when the client closes the connection before it has its answer. */
function whileWanted(response: ServerResponse): AbortSignal {
  const controller = new AbortController();
  response.once('close', () => {
    if (!response.writableEnded) controller.abort();
  });
  return controller.signal;
}

function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  error: CodedErrorJson,
  headers: Readonly<Record<string, string>> = {},
  status = STATUS[error.code] ?? 500,
): void {
  // A body that is not read to its end would stand in the way of the next request on this connection.
  if (!request.complete) {
    response.shouldKeepAlive = false;
    request.resume();
  }
  const retry = error.code === 'SERVE_OVERLOADED' ? { 'retry-after': '1' } : {};
  write(response, {
    status,
    json: JSON.stringify({ error: error.what, code: error.code, remedy: error.remedy }),
    headers: { ...retry, ...headers },
  });
}

function write(response: ServerResponse, { status, json, binary = [], headers }: Reply): void {
  if (response.destroyed) return;
  const jsonBytes = Buffer.byteLength(json);
  const bytes = binary.reduce((sum, part) => sum + part.length, jsonBytes);
  const content =
    binary.length === 0
      ? { 'content-type': 'application/json' }
      : { 'content-type': 'application/octet-stream', 'inference-header-content-length': jsonBytes };
  // RFC 9110, section 15.4.5: 304 says nothing about a body that it has not got.
  response.writeHead(status, { ...(status === 304 ? {} : { ...content, 'content-length': bytes }), ...headers });
  if (binary.length === 0) {
    response.end(json);
    return;
  }
  if (bytes <= SMALL_BYTES) {
    response.end(Buffer.concat([Buffer.from(json), ...binary]));
    return;
  }
  // No copy of what is large.
  response.cork();
  response.write(json);
  for (const part of binary) response.write(part);
  response.end();
  response.uncork();
}

const wrongPath = (what: string): CodedErrorJson =>
  new ServeError('REQUEST_INVALID', what, {
    remedy: 'Use the paths of the Open Inference Protocol v2, REST.',
  }).toJSON();

const overloaded = (maxPending: number): ServeError =>
  new ServeError('SERVE_OVERLOADED', `${maxPending} requests are under way already.`, {
    remedy: 'Send the request again, later or slower.',
  });
