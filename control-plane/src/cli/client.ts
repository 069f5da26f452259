import type { Fault } from '@drover/shared/coded-error';
import { CliError, RemoteError } from './errors.js';
import { sendBelieving, type Send } from './private-authority.js';

export interface Client {
  readonly url: string;
  get<Answer>(path: string): Promise<Answer>;
  send<Answer>(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<Answer>;
  /** True if the control plane has the file already. */
  hasBlob(hex: string, signal: AbortSignal): Promise<boolean>;
  putBlob(hex: string, content: Uint8Array | Blob, signal: AbortSignal): Promise<void>;
  /** A metadata file or a manifest, as it was sent. @throws CliError CLI_ANSWER_UNREADABLE where it has more than 2 MiB */
  document(path: string, signal: AbortSignal): Promise<Buffer>;
  /** The bytes of an answer as they come, whatever their size. @throws CliError CLI_UNREACHABLE where they break off */
  read(path: string, signal: AbortSignal): AsyncIterable<Uint8Array>;
}

/** Talks to one control plane over its HTTP interface; paths are below /api/v1 unless they begin with `//`. */
export function connect(url: string, token: string | undefined, ca?: string): Client {
  const base = parseUrl(url);
  const send: Send = ca === undefined || base.startsWith('http:') ? fetch : sendBelieving(ca);
  async function call(
    method: string,
    path: string,
    body?: string | Blob,
    contentType?: string,
    signal?: AbortSignal,
  ): Promise<Response> {
    const target = path.startsWith('//') ? `${base}${path.slice(1)}` : `${base}/api/v1${path}`;
    const headers = {
      accept: 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(contentType === undefined ? {} : { 'content-type': contentType }),
    };
    let response: Response;
    try {
      response = await send(target, {
        method,
        headers,
        redirect: 'error',
        ...(body === undefined ? {} : { body }),
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (cause) {
      signal?.throwIfAborted();
      throw unreachable(cause);
    }
    if (response.ok || (method === 'HEAD' && response.status === 404)) return response;
    throw toRemoteError(response.status, target, await response.text());
  }

  const unreachable = (cause: unknown) =>
    new CliError('CLI_UNREACHABLE', `The control plane at ${base} does not answer: ${reason(cause)}.`, {
      remedy: 'Check that it runs, the address and the network; `drover doctor` looks closer.',
      cause,
    });

  async function* read(path: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const { body } = await call('GET', path, undefined, undefined, signal);
    try {
      for await (const part of (body ?? []) as AsyncIterable<Uint8Array>) yield part;
    } catch (cause) {
      signal.throwIfAborted();
      throw unreachable(cause);
    }
  }

  return {
    url: base,
    read,
    document: (path, signal) => whole(path, read(path, signal)),
    get: async <Answer>(path: string) => (await parse(await call('GET', path))) as Answer,
    send: async <Answer>(method: string, path: string, body?: unknown) =>
      (await parse(
        body === undefined
          ? await call(method, path)
          : await call(method, path, JSON.stringify(body), 'application/json'),
      )) as Answer,
    hasBlob: async (hex, signal) => (await call('HEAD', `/blobs/${hex}`, undefined, undefined, signal)).ok,
    putBlob: async (hex, content, signal) => {
      const body = content instanceof Blob ? content : new Blob([new Uint8Array(content)]);
      await parse(await call('PUT', `/blobs/${hex}`, body, 'application/octet-stream', signal));
    },
  };
}

/** What the control plane takes is bounded by this (docs/protocol.md, sections 3 and 12); what is sent may come from elsewhere. */
const MAX_DOCUMENT_BYTES = 2 * 1024 * 1024;

async function whole(where: string, parts: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const read: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of parts) {
    bytes += part.length;
    if (bytes > MAX_DOCUMENT_BYTES) {
      throw new CliError('CLI_ANSWER_UNREADABLE', `This document has more than ${MAX_DOCUMENT_BYTES} bytes.`, {
        where,
        remedy: 'Check that the address is that of a control plane and not of a proxy.',
      });
    }
    read.push(part);
  }
  return Buffer.concat(read);
}

function parseUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed?.protocol === 'http:' || parsed?.protocol === 'https:') return parsed.href.replace(/\/+$/, '');
  throw new CliError('CLI_USAGE', `"${url}" is no address of a control plane.`, {
    remedy: 'Write for example http://localhost:7070.',
  });
}

async function parse(response: Response): Promise<unknown> {
  const text = await response.text();
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new CliError('CLI_ANSWER_UNREADABLE', `The answer is not JSON: ${text.slice(0, 100)}`, {
      where: response.url,
      remedy: 'Check that the address is that of a control plane and not of a proxy.',
      cause,
    });
  }
}

function toRemoteError(status: number, where: string, text: string): Error {
  try {
    const { error } = JSON.parse(text) as {
      error: { code: string; what: string; remedy: string; where?: string; fault: Fault };
    };
    return new RemoteError(status, error.code, error.what, error);
  } catch (cause) {
    return new CliError(
      'CLI_ANSWER_UNREADABLE',
      `The answer has status ${status} and no coded error: ${text.slice(0, 100)}`,
      {
        where,
        remedy: 'Check that the address is that of a control plane and not of a proxy.',
        cause,
      },
    );
  }
}

/** fetch hides the reason (ECONNREFUSED) in the cause of its TypeError. */
function reason(error: unknown): string {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = inner instanceof Error && 'code' in inner && typeof inner.code === 'string' ? inner.code : '';
  return code !== '' ? code : inner instanceof Error ? inner.message : String(inner);
}
