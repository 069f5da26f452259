import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Digest } from '@drover/shared/ids';
import { openEnrolment, openRenewal, type DeviceCertificate, type EnrolmentGrant } from '@drover/shared/protocol';
import { TRIAL_DEVICE, type Published, type Publisher } from './releases.js';

/** Password of the device, where there is no TLS. */
export const TRIAL_CREDENTIAL = 'c'.repeat(40);

/** `cut`: the connection breaks in the middle of a file, once per file. `tampered`: the model's bytes are others. */
export type ServerFault = 'none' | 'cut' | 'tampered';

export interface ReleaseServer {
  readonly url: string;
  offer(published: Published, fault?: ServerFault): void;
  close(): Promise<void>;
}

const CHUNKS = 4;
const METADATA = '/api/v1/device/metadata/';
const BLOBS = '/api/v1/device/blobs/';
const PACKS = '/api/v1/device/packs/';
const DIRECTORIES = '/api/v1/device/pack-directories/';

type ServedPublisher = Pick<Publisher, 'metadata' | 'pack' | 'director'>;

/** The device API of a control plane for one device, on real HTTP with Range: enrolment, certificates, releases, packs. */
export async function startReleaseServer(publisher: ServedPublisher): Promise<ReleaseServer> {
  const documents = new Map<string, Uint8Array>();
  const cuts = new Set<string>();
  const tampered = new Set<string>();
  let certificates = 0;
  let deviceKey: Parameters<typeof openRenewal>[1] | undefined;

  function newCertificate(): DeviceCertificate {
    certificates += 1;
    return { certificate: numberedCertificate(certificates), authorities: [numberedCertificate(0)] };
  }

  async function answerPost(url: string, body: Buffer): Promise<object | undefined> {
    if (url === '/api/v1/enrolments') {
      const { publicKey, deviceId } = openEnrolment(body);
      deviceKey = () => Promise.resolve({ threshold: 1, keys: [publicKey] });
      const common = { protocol: 1 as const, deviceId, credential: TRIAL_CREDENTIAL, epoch: 1 };
      const grant: EnrolmentGrant = {
        ...common,
        identity: newCertificate(),
        director: publisher.director,
        brokerUrl: 'mqtt://127.0.0.1',
      };
      return grant;
    }
    if (url !== '/api/v1/certificate-renewals' || !deviceKey) return undefined;
    await openRenewal(body, deviceKey);
    return { deviceId: TRIAL_DEVICE, ...newCertificate() };
  }

  async function find(url: string): Promise<Uint8Array | undefined> {
    if (url.startsWith(METADATA)) return publisher.metadata(url.slice(METADATA.length));
    if (!url.startsWith(DIRECTORIES)) return documents.get(url);
    const [target = '', base] = url.slice(DIRECTORIES.length).split('/from/');
    const pack = await publisher.pack(
      `sha256:${target}` as Digest,
      base === undefined ? undefined : (`sha256:${base}` as Digest),
    );
    if (pack) documents.set(`${PACKS}${pack.digest.slice(7)}`, pack.bytes);
    return pack?.directory;
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = request.url ?? '';
    if (request.method === 'POST') {
      const parts: Buffer[] = [];
      for await (const part of request) parts.push(part as Buffer);
      const answered = await answerPost(url, Buffer.concat(parts));
      response.writeHead(answered ? 201 : 404, { 'content-type': 'application/json' });
      response.end(JSON.stringify(answered ?? { error: { code: 'NOT_FOUND', what: url, remedy: '' } }));
      return;
    }
    const body = await find(url);
    if (!body) {
      response.writeHead(404).end();
      return;
    }
    const [, first = '0', last] = /^bytes=(\d+)-(\d+)?$/.exec(request.headers.range ?? '') ?? [];
    const from = Number(first);
    const end = last === undefined ? body.length : Math.min(body.length, Number(last) + 1);
    const isPart = from > 0 || end < body.length;
    const range = isPart ? { 'content-range': `bytes ${from}-${end - 1}/${body.length}` } : {};
    response.writeHead(isPart ? 206 : 200, { 'content-length': end - from, ...range });
    const sent = tampered.has(url) ? Buffer.from(body).fill(0x55, body.length >> 1) : body;
    const isCut = cuts.delete(url);
    inChunks(response, sent.subarray(from, isCut ? from + Math.ceil((end - from) / 2) : end), isCut);
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => response.destroy(error as Error));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const blobUrl = (digest: Digest): string => `${BLOBS}${digest.slice(7)}`;
  return {
    url: `http://127.0.0.1:${port}`,
    offer({ release, manifestBytes, files, loaded }, fault = 'none') {
      documents.set(blobUrl(release.digest), manifestBytes);
      for (const [digest, bytes] of files) {
        documents.set(blobUrl(digest), bytes);
        if (fault === 'cut') cuts.add(blobUrl(digest));
        else cuts.delete(blobUrl(digest));
      }
      if (fault === 'tampered') tampered.add(blobUrl(loaded));
      else tampered.delete(blobUrl(loaded));
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** The device stores certificates and does not read them here: there is no TLS in a trial. A number tells them apart. */
export const numberedCertificate = (number: number): string =>
  `-----BEGIN CERTIFICATE-----\n${Buffer.from(`number ${number}`).toString('base64')}\n-----END CERTIFICATE-----\n`;

export function certificateNumber(pem: string): number {
  const [, base64 = ''] = pem.split('\n');
  return Number(/^number (\d+)$/.exec(Buffer.from(base64, 'base64').toString())?.[1]);
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
