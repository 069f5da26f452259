import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { brotliCompress, constants } from 'node:zlib';
import { Type } from 'typebox';
import { digestHex, type Digest } from '@drover/shared/ids';
import {
  CONTENT,
  digestHexText,
  digestText,
  hasAlready,
  HttpError,
  PUBLISHER,
  responses,
  toDigest,
} from '../http/index.js';
import { BlobError } from './errors.js';
import { describe, etagOf, sendRange } from './send-range.js';
import type { BlobStore } from './store.js';

const params = Type.Object({ digest: digestHexText });
const StoredDocument = Type.Object({ digest: digestText, bytes: Type.Integer() });

/** Upload for publishers, download with ranges for devices. */
export const blobRoutes =
  ({ blobs }: { readonly blobs: BlobStore }): FastifyPluginAsyncTypebox =>
  (app) => {
    // Handed on as a stream: a model may be larger than the memory. The store enforces the limit while it reads.
    app.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload));

    app.put(
      '/blobs/:digest',
      {
        config: { access: PUBLISHER },
        schema: {
          tags: ['registry'],
          consumes: ['application/octet-stream'],
          params,
          response: responses({ 200: StoredDocument, 201: StoredDocument }),
        },
      },
      async (request, reply) => {
        const digest = toDigest(request.params.digest);
        const { bytes, created } = await blobs.put(digest, contentOf(request));
        return reply.code(created ? 201 : 200).send({ digest, bytes });
      },
    );

    app.head(
      '/blobs/:digest',
      { config: { access: PUBLISHER }, schema: { tags: ['registry'], params } },
      async (request, reply) =>
        describe(reply, {
          bytes: await sizeOf(blobs, toDigest(request.params.digest)),
          hex: request.params.digest,
        }).send(),
    );

    app.get(
      '/blobs/:digest',
      { config: { access: PUBLISHER }, exposeHeadRoute: false, schema: { tags: ['registry'], params } },
      async (request, reply) => {
        const digest = toDigest(request.params.digest);
        // Unlike for devices: a shared cache would give it to whoever asks.
        return describe(reply, { bytes: await sizeOf(blobs, digest), hex: request.params.digest })
          .header('cache-control', 'no-store')
          .send(blobs.read(digest));
      },
    );

    app.head(
      '/device/blobs/:digest',
      { config: { access: CONTENT }, schema: { tags: ['device'], params } },
      async (request, reply) =>
        describe(reply, {
          bytes: await sizeOf(blobs, toDigest(request.params.digest)),
          hex: request.params.digest,
        }).send(),
    );

    app.get(
      '/device/blobs/:digest',
      // Fastify's own HEAD would read the whole file to throw it away.
      { config: { access: CONTENT }, exposeHeadRoute: false, schema: { tags: ['device'], params } },
      async (request, reply) => {
        const digest = toDigest(request.params.digest);
        const bytes = await sizeOf(blobs, digest);
        const hex = request.params.digest;
        if (bytes <= MAX_ENCODED_BYTES) void reply.header('vary', 'accept-encoding');
        if (takesBrotli(request) && bytes <= MAX_ENCODED_BYTES)
          return sendEncoded(request, reply, { blobs, digest, bytes });
        return sendRange(request, reply, { hex, bytes, read: (range) => blobs.read(digest, range) });
      },
    );
    return Promise.resolve();
  };

function contentOf(request: FastifyRequest): Readable {
  const content = request.body as Readable | undefined;
  if (content) return content;
  throw new HttpError('REQUEST_MEDIA_TYPE', 'This needs the bytes of the file as its body.', {
    remedy: 'Send them as application/octet-stream.',
  });
}

async function sizeOf(blobs: BlobStore, digest: Digest): Promise<number> {
  const bytes = await blobs.bytesOf(digest);
  if (bytes !== undefined) return bytes;
  throw new BlobError('BLOB_UNKNOWN', `No file with the digest ${digest} is stored.`, {
    remedy: 'Publish the release that holds it (`drover model publish`).',
  });
}

/** Larger files have an index where compressing them pays, and come in chunks. */
const MAX_ENCODED_BYTES = 512 * 1024;
const compress = promisify(brotliCompress);

/** A part of compressed content is of no use to a device, so who asks for a range gets it plain. */
const takesBrotli = ({ headers }: FastifyRequest): boolean =>
  headers.range === undefined && /(^|[ ,])br(?![^,;])(?!\s*;\s*q=0)/.test(headers['accept-encoding'] ?? '');

/** The content coding "br" (RFC 7932), where it makes the file smaller. */
async function sendEncoded(
  request: FastifyRequest,
  reply: FastifyReply,
  { blobs, digest, bytes }: { blobs: BlobStore; digest: Digest; bytes: number },
) {
  const hex = digestHex(digest);
  const tag = `${hex}-br`;
  if (hasAlready(request, etagOf(tag)))
    return describe(reply, { bytes, hex: tag }).code(304).removeHeader('content-length').send();
  const parts: Buffer[] = [];
  for await (const part of blobs.read(digest)) parts.push(part as Buffer);
  const plain = Buffer.concat(parts);
  const encoded = await compress(plain, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } });
  if (encoded.length >= bytes) return describe(reply, { bytes, hex }).send(plain);
  return describe(reply, { bytes: encoded.length, hex: tag }).header('content-encoding', 'br').send(encoded);
}
