import { createHash } from 'node:crypto';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { sendRange } from '../blobs/index.js';
import { CONTENT, digestHexText, hasAlready, toDigest } from '../http/index.js';
import { PackError } from './errors.js';
import type { Packs } from './packs.js';

/** A pack never changes under its digest, but which one is made for a file may, with the version of the compressor. */
const DIRECTORY_MAX_AGE_S = 3600;

/** Compressed chunks and deltas for devices (docs/protocol.md, section 10, step 7). Everything can be cached on the way. */
export const packRoutes =
  ({ packs }: { readonly packs: Packs }): FastifyPluginAsyncTypebox =>
  (app) => {
    const directory = async (target: string, base?: string) =>
      packs.directory(toDigest(target), base === undefined ? undefined : toDigest(base));
    const schema = { tags: ['device'] };

    app.get(
      '/device/pack-directories/:index',
      { config: { access: CONTENT }, schema: { ...schema, params: Type.Object({ index: digestHexText }) } },
      async (request, reply) => {
        return sendDirectory(request, reply, await directory(request.params.index));
      },
    );

    app.get(
      '/device/pack-directories/:index/from/:base',
      {
        config: { access: CONTENT },
        schema: { ...schema, params: Type.Object({ index: digestHexText, base: digestHexText }) },
      },
      async (request, reply) => {
        return sendDirectory(request, reply, await directory(request.params.index, request.params.base));
      },
    );

    app.get(
      '/device/packs/:digest',
      {
        config: { access: CONTENT },
        exposeHeadRoute: false,
        schema: { ...schema, params: Type.Object({ digest: digestHexText }) },
      },
      async (request, reply) => {
        const handle = await packs.open(toDigest(request.params.digest));
        if (!handle) {
          throw new PackError('PACK_UNKNOWN', `The pack ${request.params.digest} is not here any more.`, {
            remedy: 'Ask for the directory again, or fetch the plain file.',
          });
        }
        const { size } = await handle.stat();
        return sendRange(request, reply, {
          hex: request.params.digest,
          bytes: size,
          read: (range) => handle.createReadStream({ ...range, autoClose: true }),
          discard: () => handle.close(),
        });
      },
    );
    return Promise.resolve();
  };

function sendDirectory(request: FastifyRequest, reply: FastifyReply, content: Buffer) {
  const etag = etagOf(content);
  void reply.header('etag', etag).header('cache-control', `public, max-age=${DIRECTORY_MAX_AGE_S}`);
  return hasAlready(request, etag) ? reply.code(304).send() : reply.type('application/octet-stream').send(content);
}

const etagOf = (content: Buffer): string => `"${createHash('sha256').update(content).digest('hex')}"`;
