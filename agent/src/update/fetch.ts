import { Type } from 'typebox';
import { Value } from 'typebox/value';
import { digestHex, type DeviceId, type Digest } from '@drover/shared/ids';
import { MAX_MANIFEST_BYTES } from '@drover/shared/manifest';
import type { MetadataFetcher } from '@drover/shared/trust/tuf';
import { LinkError, readBody, type HttpAnswer, type HttpFetch } from '../link/index.js';
import { UpdateError } from './errors.js';

/** Where releases come from. Nothing that it gives is believed before it was checked. */
export interface ReleaseSource {
  /** Files of the release repository. */
  readonly metadata: MetadataFetcher;
  /** The bytes of the manifest with this digest. */
  manifest(digest: Digest, signal: AbortSignal): Promise<Uint8Array>;
  /** The bytes of a file from `offset` to its end. */
  blob(digest: Digest, offset: number, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** A part of a file. Without it files come as a whole. */
  readBlob?(digest: Digest, range: ReadRange, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** What is in the pack for a file, by the digests of its index and of that of a base; undefined when there is none. */
  packDirectory?(request: PackRequest, signal: AbortSignal): Promise<Uint8Array | undefined>;
  /** A part of a pack. */
  pack?(digest: Digest, range: ReadRange, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /**
   * What came for this digest does not hold; whoever gave it is not asked for it again in this update, and is blamed where there is an error. True
   * where somebody else is asked from now on.
   */
  disown?(digest: Digest, error?: UpdateError): boolean;
  /** It lies on this disk: reading it is no download, and no cap on those holds it back. */
  isLocal?(digest: Digest): boolean;
  /** Who may be asked for metadata while `metadata` cannot be reached (docs/protocol.md, section 13, step 3). */
  standIns?(): readonly MetadataStandIn[];
  /** The same source for one update, which tells where its bytes came from. */
  forUpdate?(): ReleaseSource & { account(): string[] };
}

/** Metadata in place of the control plane's. */
export interface MetadataStandIn {
  readonly name: string;
  readonly fetcher: MetadataFetcher;
  /** Longest time for one refresh. */
  readonly maxMs: number;
  /** What it had does not hold, or it could not be asked either. */
  refused(error: unknown): void;
}

/** From `start` to before `end`. */
export interface ReadRange {
  readonly start: number;
  readonly end: number;
}

export interface PackRequest {
  readonly target: Digest;
  readonly base: Digest | undefined;
  readonly maxBytes: number;
}

export interface HttpSourceOptions {
  /** Without a trailing slash. */
  readonly controlPlaneUrl: string;
  /** With the credential. */
  readonly deviceId?: DeviceId | undefined;
  /** For connections without TLS; over TLS the certificate in the channel proves the device. */
  readonly credential?: string | undefined;
  /** Longest silence of the server, before the answer and within it. Real time, whatever clock the device keeps: it bounds real sockets. */
  readonly idleTimeoutMs?: number;
  readonly fetch?: HttpFetch;
}

const ServerError = Type.Object({ error: Type.Object({ code: Type.String(), what: Type.String() }) });
const MAX_ERROR_BYTES = 16 * 1024;

/**
 * The device API of the control plane over HTTP (docs/protocol.md, section 8), with Range requests (RFC 9110, section 14).
 *
 * Its errors: UpdateError FETCH_UNREACHABLE, FETCH_STALLED (retryable); FETCH_UNAUTHORIZED, FETCH_NOT_FOUND, FETCH_TOO_LARGE,
 * FETCH_ANSWER_INVALID.
 */
export function httpReleaseSource(options: HttpSourceOptions): ReleaseSource {
  const { controlPlaneUrl, deviceId, credential, idleTimeoutMs = 30_000, fetch: request = fetch } = options;
  const authorization: Record<string, string> =
    credential === undefined || deviceId === undefined || controlPlaneUrl.startsWith('https:')
      ? {}
      : { authorization: `Basic ${Buffer.from(`${deviceId}:${credential}`).toString('base64')}` };

  async function* read(url: string, headers: Record<string, string>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const idle = new AbortController();
    const timer = setTimeout(() => idle.abort(), idleTimeoutMs);
    try {
      const response = await request(url, {
        headers: { ...authorization, 'accept-encoding': 'identity', ...headers },
        signal: AbortSignal.any([signal, idle.signal]),
      });
      if (!response.ok) throw await toHttpError(response, url);
      let skipBytes = bytesToSkip(response, Number(/^bytes=(\d+)-/.exec(headers['range'] ?? '')?.[1] ?? 0), url);
      const body: AsyncIterable<Uint8Array> | Iterable<Uint8Array> = response.body ?? [];
      for await (const chunk of body) {
        timer.refresh();
        if (chunk.length > skipBytes) yield chunk.subarray(skipBytes);
        skipBytes = Math.max(0, skipBytes - chunk.length);
      }
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof UpdateError) throw error;
      throw idle.signal.aborted ? stalled(url, idleTimeoutMs) : unreachable(url, error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** All of it, bounded while it arrives. */
  async function whole(url: string, headers: Record<string, string>, maxBytes: number, signal: AbortSignal) {
    const parts: Uint8Array[] = [];
    let bytes = 0;
    for await (const part of read(url, headers, signal)) {
      bytes += part.length;
      if (bytes > maxBytes) throw tooLarge(url, maxBytes);
      parts.push(part);
    }
    return Buffer.concat(parts);
  }

  const rangeOf = ({ start, end }: ReadRange) => ({ range: `bytes=${start}-${end - 1}` });
  return {
    metadata: {
      async fetch(name, { maxBytes, signal }) {
        // Compressed on the way; the bound counts what comes out of it.
        const headers = { accept: 'application/json', 'accept-encoding': 'gzip' };
        try {
          return await whole(`${controlPlaneUrl}/api/v1/device/metadata/${name}`, headers, maxBytes, signal);
        } catch (error) {
          if (error instanceof UpdateError && error.code === 'FETCH_NOT_FOUND') return undefined;
          throw error;
        }
      },
    },
    manifest: (digest, signal) =>
      whole(`${controlPlaneUrl}/api/v1/device/blobs/${digestHex(digest)}`, {}, MAX_MANIFEST_BYTES, signal),
    blob(digest, offset, signal) {
      const url = `${controlPlaneUrl}/api/v1/device/blobs/${digestHex(digest)}`;
      // Small files without an index come compressed where that helps; a part of one could not.
      return read(url, offset === 0 ? { 'accept-encoding': 'br' } : { range: `bytes=${offset}-` }, signal);
    },
    readBlob: (digest, range, signal) =>
      read(`${controlPlaneUrl}/api/v1/device/blobs/${digestHex(digest)}`, rangeOf(range), signal),
    pack: (digest, range, signal) =>
      read(`${controlPlaneUrl}/api/v1/device/packs/${digestHex(digest)}`, rangeOf(range), signal),
    async packDirectory({ target, base, maxBytes }, signal) {
      const against = base === undefined ? '' : `/from/${digestHex(base)}`;
      const url = `${controlPlaneUrl}/api/v1/device/pack-directories/${digestHex(target)}${against}`;
      try {
        return await whole(url, { accept: 'application/octet-stream' }, maxBytes, signal);
      } catch (error) {
        if (error instanceof UpdateError && error.code === 'FETCH_NOT_FOUND') return undefined;
        throw error;
      }
    },
  };
}

/** A server may ignore Range and answer 200 with everything (RFC 9110, section 14.2); one that answers with another part is wrong. */
function bytesToSkip(response: HttpAnswer, offset: number, url: string): number {
  if (response.status !== 206) return offset;
  const first = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1];
  if (first !== undefined && Number(first) === offset) return 0;
  throw new UpdateError(
    'FETCH_ANSWER_INVALID',
    `The server was asked for bytes from ${offset} and gave "${first ?? 'none'}".`,
    {
      where: url,
      remedy: 'Check proxies and caches between the device and the control plane.',
    },
  );
}

async function toHttpError(response: HttpAnswer, url: string): Promise<UpdateError> {
  const { status } = response;
  const said = await serverWords(response);
  const facts = (remedy: string) => ({ where: url, remedy });
  if (status === 401 || status === 403) {
    return new UpdateError('FETCH_UNAUTHORIZED', `The control plane does not let this device in (${status}${said}).`, {
      ...facts('Check that the device is enrolled there and not revoked; else enrol it again.'),
    });
  }
  if (status === 404 || status === 410) {
    return new UpdateError('FETCH_NOT_FOUND', `The control plane does not have what was ordered (${status}${said}).`, {
      ...facts('Publish the release again, or check the storage of the control plane.'),
    });
  }
  if (status === 408 || status === 429 || status >= 500) {
    return new UpdateError('FETCH_UNREACHABLE', `The control plane answered ${status}${said}.`, {
      ...facts('The device tries again by itself. If it stays so, look at the log of the control plane.'),
    });
  }
  return new UpdateError('FETCH_ANSWER_INVALID', `The control plane answered ${status}${said}.`, {
    ...facts('Check the address of the control plane and proxies on the way.'),
  });
}

async function serverWords(response: HttpAnswer): Promise<string> {
  try {
    const body: unknown = JSON.parse((await readBody(response, MAX_ERROR_BYTES)).toString('utf8'));
    return Value.Check(ServerError, body) ? `, ${body.error.code}: ${body.error.what}` : '';
  } catch (error) {
    // The page of a proxy: the status says enough.
    if (error instanceof SyntaxError || error instanceof LinkError) return '';
    throw error;
  }
}

const stalled = (url: string, idleTimeoutMs: number) =>
  new UpdateError('FETCH_STALLED', `The server was silent for ${idleTimeoutMs} ms.`, {
    where: url,
    remedy: 'The device tries again by itself. If it stays so, check the network.',
  });

const tooLarge = (url: string, maxBytes: number) =>
  new UpdateError('FETCH_TOO_LARGE', `The answer exceeds ${maxBytes} bytes.`, {
    where: url,
    remedy: 'Check what answers at this address; the control plane never sends that much here.',
  });

function unreachable(url: string, cause: unknown): UpdateError {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  return new UpdateError(
    'FETCH_UNREACHABLE',
    `The connection failed: ${inner instanceof Error ? inner.message : String(inner)}.`,
    {
      where: url,
      remedy: 'The device tries again by itself. If it stays so, check the network and whether the control plane runs.',
      cause,
    },
  );
}
