import { digestOf, type Digest } from '@drover/shared/ids';
import type { MetadataStandIn, PackRequest, ReadRange, ReleaseSource } from '../update/fetch.js';
import { brokeOff, toBlame, tooLate, wrongBytes } from './blame.js';
import { CONTROL_PLANE, Ledger } from './ledger.js';
import type { Origin } from './origin.js';
import { GRACE_MS, inTime, withPatience } from './patience.js';

export interface SourceChainOptions {
  /** Asked last for content, and first for metadata: what it says is what counts. */
  readonly controlPlane: ReleaseSource;
  /** In the order in which they are asked. */
  readonly origins: () => readonly Origin[];
  /** Who is asked for metadata while the control plane cannot be, in this order. */
  readonly standIns: () => readonly Origin[];
  /** Adds up what each has served since the start. */
  readonly onBytes?: (origin: string, bytes: number) => void;
}

/** A manifest and a directory come whole before anything can be judged: as many times the grace. */
const WHOLE_GRACES = 3;
/** One refresh of metadata by a stand-in: a few small files. */
const STAND_IN_MS = 30_000;

/**
 * Bundles and mirrors before the control plane, for what has a digest to be checked by (docs/protocol.md, section 13). The caller checks as if all came from one
 * server; where a check fails it says so (`disown`), and whoever had a part in that is not asked again.
 *
 * INVARIANT: whatever the others do, each request ends as the control plane's own answer would have ended it, and later by a bounded time.
 */
export function createSourceChain(options: SourceChainOptions): ReleaseSource {
  const standIns = (): MetadataStandIn[] =>
    options
      .standIns()
      .filter((origin) => origin.mayBeAsked())
      .map((origin) => ({
        name: origin.name,
        fetcher: origin.source.metadata,
        maxMs: STAND_IN_MS,
        refused: (error) => {
          const blame = toBlame(origin.name, error);
          if (blame) origin.failed(blame);
        },
      }));
  const forUpdate = () => {
    const ledger = new Ledger();
    return Object.assign(contentOf(options, ledger), { account: () => ledger.account() });
  };
  return { ...contentOf(options, new Ledger()), standIns, forUpdate };
}

type Open = (source: ReleaseSource, start: number, signal: AbortSignal) => AsyncIterable<Uint8Array> | undefined;

function contentOf({ controlPlane, origins, onBytes }: SourceChainOptions, ledger: Ledger): ReleaseSource {
  const count = (origin: string, digest: Digest, bytes: number): void => {
    ledger.add(origin, digest, bytes);
    onBytes?.(origin, bytes);
  };
  const passOver = (origin: Origin, error: unknown, digest: Digest): void => {
    ledger.disown(origin.name, digest);
    const blame = toBlame(origin.name, error);
    if (!blame) return;
    ledger.refused(origin.name, blame);
    origin.failed(blame);
  };

  /** Tries each in turn until one has finished the work. What one fails with is its own affair. */
  function* inTurn(digest: Digest, signal: AbortSignal) {
    for (const origin of origins()) {
      if (!origin.mayBeAsked() || ledger.isDisowned(origin.name, digest)) continue;
      const givenUp = new AbortController();
      const noting = (error: unknown): void => {
        signal.throwIfAborted();
        passOver(origin, error, digest);
      };
      try {
        yield { origin, noting, within: AbortSignal.any([signal, givenUp.signal]) };
      } finally {
        givenUp.abort();
      }
    }
  }

  /** Each goes on where the one before it broke off. */
  async function* read(digest: Digest, start: number, end: number | undefined, open: Open, signal: AbortSignal) {
    // Chunks that came by earlier requests were found right since.
    ledger.forgetParts(digest);
    let position = start;
    for (const { origin, noting, within } of inTurn(digest, signal)) {
      try {
        const parts = open(origin.source, position, within);
        if (!parts) continue;
        for await (const part of patiently(parts, origin)) {
          // A server may ignore the range and go on to the end (RFC 9110, section 14.2), or for ever.
          const wanted = end === undefined ? part : part.subarray(0, end - position);
          position += wanted.length;
          count(origin.name, digest, wanted.length);
          yield wanted;
          if (position === end) break;
        }
        if (end !== undefined && position < end) throw brokeOff(origin.name, position - start);
        origin.succeeded();
        return;
      } catch (error) {
        noting(error);
      }
    }
    for await (const part of open(controlPlane, position, signal) ?? []) {
      count(CONTROL_PLANE, digest, part.length);
      yield part;
    }
  }

  async function whole<Answer extends Uint8Array | undefined>(
    digest: Digest,
    ask: (source: ReleaseSource, signal: AbortSignal) => Promise<Answer>,
    isRight: (answer: Answer & Uint8Array) => boolean,
    signal: AbortSignal,
  ): Promise<Answer> {
    for (const { origin, noting, within } of inTurn(digest, signal)) {
      try {
        const limitMs = WHOLE_GRACES * (origin.graceMs ?? GRACE_MS);
        const answer = await inTime(ask(origin.source, within), limitMs, () => tooLate(origin.name, limitMs));
        if (answer === undefined) continue;
        if (!isRight(answer)) throw wrongBytes(origin.name, digest);
        count(origin.name, digest, answer.length);
        origin.succeeded();
        return answer;
      } catch (error) {
        noting(error);
      }
    }
    const answer = await ask(controlPlane, signal);
    if (answer) count(CONTROL_PLANE, digest, answer.length);
    return answer;
  }

  return {
    metadata: controlPlane.metadata,
    manifest: (digest, signal) =>
      whole(
        digest,
        (source, within) => source.manifest(digest, within),
        (bytes) => digestOf(bytes) === digest,
        signal,
      ),
    blob: (digest, offset, signal) =>
      read(digest, offset, undefined, (source, start, within) => source.blob(digest, start, within), signal),
    ...(controlPlane.readBlob && {
      readBlob: (digest: Digest, { start, end }: ReadRange, signal: AbortSignal) =>
        read(digest, start, end, (source, from, at) => source.readBlob?.(digest, { start: from, end }, at), signal),
    }),
    ...(controlPlane.pack && {
      pack: (digest: Digest, { start, end }: ReadRange, signal: AbortSignal) =>
        read(digest, start, end, (source, from, at) => source.pack?.(digest, { start: from, end }, at), signal),
    }),
    ...(controlPlane.packDirectory && {
      packDirectory: (request: PackRequest, signal: AbortSignal) =>
        whole(
          request.target,
          (source, within) => source.packDirectory?.(request, within) ?? Promise.resolve(undefined),
          () => true,
          signal,
        ),
    }),
    isLocal: (digest) => origins().some((origin) => origin.mayBeAsked() && origin.holds?.(digest) === true),
    disown(digest, error) {
      const guilty = origins().filter(({ name }) => ledger.hasPartIn(name, digest));
      for (const origin of guilty) {
        if (error) passOver(origin, error, digest);
        else ledger.disown(origin.name, digest);
      }
      ledger.forgetParts(digest);
      return guilty.length > 0;
    },
  };
}

const patiently = (parts: AsyncIterable<Uint8Array>, { name, minBytesPerSecond, graceMs }: Origin) =>
  minBytesPerSecond === undefined ? parts : withPatience(parts, { name, minBytesPerSecond, graceMs });
