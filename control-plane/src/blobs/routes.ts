import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Readable } from 'node:stream';
import { Type } from 'typebox';
import type { Digest } from '@drover/shared/ids';
import { DEVICE, digestHexText, digestText, HttpError, PUBLISHER, responses, toDigest } from '../http/index.js';
import { BlobError } from './errors.js';
import { parseRange } from './range.js';
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
        describe(reply, await sizeOf(blobs, toDigest(request.params.digest)), request.params.digest).send(),
    );

    app.head(
      '/device/blobs/:digest',
      { config: { access: DEVICE }, schema: { tags: ['device'], params } },
      async (request, reply) =>
        describe(reply, await sizeOf(blobs, toDigest(request.params.digest)), request.params.digest).send(),
    );

    app.get(
      '/device/blobs/:digest',
      // Fastify's own HEAD would read the whole file to throw it away.
      { config: { access: DEVICE }, exposeHeadRoute: false, schema: { tags: ['device'], params } },
      async (request, reply) => {
        const digest = toDigest(request.params.digest);
        const bytes = await sizeOf(blobs, digest);
        describe(reply, bytes, request.params.digest);
        if (request.headers['if-none-match'] === etagOf(request.params.digest)) {
          return reply.code(304).removeHeader('content-length').send();
        }
        const range = rangeOf(request, reply, bytes);
        if (!range) return reply.send(blobs.read(digest));
        reply.code(206).header('content-range', `bytes ${range.start}-${range.end}/${bytes}`);
        reply.header('content-length', range.end - range.start + 1);
        return reply.send(blobs.read(digest, range));
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

const etagOf = (hex: string) => `"${hex}"`;

const describe = (reply: FastifyReply, bytes: number, hex: string): FastifyReply =>
  reply
    .type('application/octet-stream')
    .header('content-length', bytes)
    .header('accept-ranges', 'bytes')
    .header('etag', etagOf(hex))
    .header('cache-control', 'private, max-age=31536000, immutable');

/** A file never changes under its digest, so If-Range can only fail for a foreign tag (RFC 9110, section 13.1.5): then all is sent. */
function rangeOf(request: FastifyRequest<{ Params: { digest: string } }>, reply: FastifyReply, bytes: number) {
  const ifRange = request.headers['if-range'];
  if (ifRange !== undefined && ifRange !== etagOf(request.params.digest)) return undefined;
  try {
    return parseRange(request.headers.range, bytes);
  } catch (error) {
    reply.removeHeader('content-length').removeHeader('etag').header('cache-control', 'no-store');
    reply.header('content-range', `bytes */${bytes}`);
    throw error;
  }
}
