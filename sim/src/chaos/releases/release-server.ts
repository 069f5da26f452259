import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Digest } from '@drover/shared/ids';
import type { PublishedRelease, Publisher } from './releases.js';

export const TRIAL_CREDENTIAL = 'c'.repeat(40);

/** `cut`: the connection breaks in the middle of a file, once per file. `tampered`: the model's bytes are others. */
export type ServerFault = 'none' | 'cut' | 'tampered';

export interface ReleaseServer {
  readonly url: string;
  offer(published: PublishedRelease, fault?: ServerFault): void;
  close(): Promise<void>;
}

const CHUNKS = 4;

/** The device API of a control plane for one device, on real HTTP with Range. */
export async function startReleaseServer(publisher: Pick<Publisher, 'metadata'>): Promise<ReleaseServer> {
  const documents = new Map<string, Uint8Array>();
  const cuts = new Set<string>();
  const tampered = new Map<string, number>();
  const server = createServer((request, response) => {
    const url = request.url ?? '';
    const metadata = /^\/api\/v1\/device\/metadata\/(.+)$/.exec(url)?.[1];
    const body = metadata === undefined ? documents.get(url) : publisher.metadata(metadata);
    if (!body) {
      response.writeHead(404).end();
      return;
    }
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const partial = from > 0 ? { 'content-range': `bytes ${from}-${body.length - 1}/${body.length}` } : {};
    response.writeHead(from > 0 ? 206 : 200, { 'content-length': body.length - from, ...partial });
    const sent = tampered.has(url) ? Buffer.from(body).fill(0x55, body.length >> 1) : body;
    const isCut = cuts.delete(url);
    inChunks(response, sent.subarray(from, isCut ? from + Math.ceil((body.length - from) / 2) : undefined), isCut);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const blobUrl = (digest: Digest): string => `/api/v1/device/blobs/${digest.slice(7)}`;
  return {
    url: `http://127.0.0.1:${port}`,
    offer({ release, manifestBytes, files, model }, fault = 'none') {
      documents.set(blobUrl(release.digest), manifestBytes);
      for (const [digest, bytes] of files) {
        documents.set(blobUrl(digest), bytes);
        if (fault === 'cut') cuts.add(blobUrl(digest));
        else cuts.delete(blobUrl(digest));
      }
      if (fault === 'tampered') tampered.set(blobUrl(model.digest), 1);
      else tampered.delete(blobUrl(model.digest));
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** One chunk per turn, so that the device has several writes to be killed at. */
function inChunks(response: ServerResponse, bytes: Uint8Array, isCut: boolean): void {
  const size = Math.max(1, Math.ceil(bytes.length / CHUNKS));
  let offset = 0;
  const next = (): void => {
    if (offset >= bytes.length) {
      if (isCut) response.destroy();
      else response.end();
      return;
    }
    const chunk = bytes.subarray(offset, (offset += size));
    response.write(chunk, () => void setTimeout(next, 1));
  };
  next();
}
