import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Readable } from 'node:stream';
import { hasAlready } from '../http/index.js';
import { parseRange } from './range.js';
import type { ByteRange } from './store.js';

/** Content that never changes under its name. */
export interface Immutable {
  /** SHA-256 of the bytes. */
  readonly hex: string;
  readonly bytes: number;
  read(range?: ByteRange): Readable;
  /** Called in place of `read` when nothing is read. */
  discard?(): Promise<void>;
}

export const etagOf = (hex: string): string => `"${hex}"`;

/** `public`: what a device may fetch every enrolled device may, and a cache at a site is there to be shared. */
export const describe = (reply: FastifyReply, { bytes, hex }: Pick<Immutable, 'bytes' | 'hex'>): FastifyReply =>
  reply
    .type('application/octet-stream')
    .header('content-length', bytes)
    .header('accept-ranges', 'bytes')
    .header('etag', etagOf(hex))
    .header('cache-control', 'public, max-age=31536000, immutable');

/** Answers a GET with all of it, one range of it (RFC 9110, section 14), or "not modified". */
export async function sendRange(request: FastifyRequest, reply: FastifyReply, content: Immutable) {
  const { hex, bytes } = content;
  describe(reply, content);
  if (hasAlready(request, etagOf(hex))) {
    await content.discard?.();
    return reply.code(304).removeHeader('content-length').send();
  }
  const range = await rangeOf(request, reply, content);
  if (!range) return reply.send(content.read());
  reply.code(206).header('content-range', `bytes ${range.start}-${range.end}/${bytes}`);
  reply.header('content-length', range.end - range.start + 1);
  return reply.send(content.read(range));
}

/** Nothing changes under its digest, so If-Range can only fail for a foreign tag (RFC 9110, section 13.1.5): then all is sent. */
async function rangeOf(request: FastifyRequest, reply: FastifyReply, content: Immutable) {
  const { hex, bytes } = content;
  const ifRange = request.headers['if-range'];
  if (ifRange !== undefined && ifRange !== etagOf(hex)) return undefined;
  try {
    return parseRange(request.headers.range, bytes);
  } catch (error) {
    await content.discard?.();
    reply.removeHeader('content-length').removeHeader('etag').header('cache-control', 'no-store');
    reply.header('content-range', `bytes */${bytes}`);
    throw error;
  }
}
