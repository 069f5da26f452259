import { readBody, type HttpFetch } from '@drover/agent/link';
import type { CodedErrorJson } from '@drover/shared/coded-error';
import { SimulationError } from './errors.js';

/** Lists of whole fleets come in one answer. */
const MAX_ANSWER_BYTES = 256 * 1024 ** 2;

/** What an operator does through the HTTP API: the simulator knows the control plane only as its users do. */
export interface Operator {
  readonly url: string;
  get<Answer>(path: string): Promise<Answer>;
  send<Answer>(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<Answer>;
  /** Uploads a file under its digest; quietly done when it is there already. */
  putBlob(hex: string, bytes: Uint8Array): Promise<void>;
}

export function operatorOf(url: string, token: string, send: HttpFetch = fetch): Operator {
  const request = async (method: string, path: string, headers: Record<string, string>, body?: string | Uint8Array) => {
    const response = await send(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...headers },
      ...(body === undefined ? {} : { body: Buffer.from(body) }),
    });
    const text = (await readBody(response, MAX_ANSWER_BYTES)).toString('utf8');
    if (!response.ok) throw refused(method, path, response.status, text);
    return text === '' ? undefined : (JSON.parse(text) as unknown);
  };
  return {
    url,
    get: async <Answer>(path: string) => (await request('GET', path, {})) as Answer,
    send: async <Answer>(method: string, path: string, body?: unknown) =>
      (await request(
        method,
        path,
        body === undefined ? {} : { 'content-type': 'application/json' },
        body === undefined ? undefined : JSON.stringify(body),
      )) as Answer,
    putBlob: async (hex, bytes) => {
      await request('PUT', `/api/v1/blobs/${hex}`, { 'content-type': 'application/octet-stream' }, bytes);
    },
  };
}

function refused(method: string, path: string, status: number, text: string): SimulationError {
  let error: Partial<CodedErrorJson> = {};
  try {
    error = (JSON.parse(text) as { error: CodedErrorJson }).error;
  } catch {
    error = { what: text.slice(0, 300) };
  }
  return new SimulationError(
    'CONTROL_PLANE_REFUSED',
    `${method} ${path} was answered ${status} ${error.code ?? ''}: ${error.what ?? ''}`,
    {
      where: path,
      remedy: error.remedy ?? 'Read the log of the control plane.',
      cause: error,
    },
  );
}
