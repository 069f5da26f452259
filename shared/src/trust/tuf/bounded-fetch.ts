import type { MetaFile } from './documents.js';
import { TufError } from './errors.js';
import type { MetadataFetcher } from './ports.js';

export interface FetchOptions {
  readonly fetcher: MetadataFetcher;
  readonly signal: AbortSignal;
  readonly maxBytes: number;
  readonly section: string;
}

/** @throws TufError TUF_TOO_LARGE, also where a fetcher did not stop at the bound */
export async function fetchMetadata(name: string, { fetcher, signal, maxBytes, section }: FetchOptions) {
  signal.throwIfAborted();
  const bytes = await fetcher.fetch(name, { maxBytes, signal });
  if (bytes && bytes.length > maxBytes) throw tooLarge(name, { section, maxBytes, has: 'has more' });
  return bytes;
}

/** @throws TufError TUF_NOT_FOUND, TUF_TOO_LARGE */
export async function fetchExisting(name: string, options: FetchOptions): Promise<Uint8Array> {
  const bytes = await fetchMetadata(name, options);
  if (bytes) return bytes;
  throw new TufError('TUF_NOT_FOUND', `The repository has no ${name}.`, { section: options.section, where: name });
}

/** A file that another one lists: as many bytes as it lists, and never more than the role may have (5.5.1, 5.6.1). */
export function fetchListed(name: string, { length }: MetaFile, options: FetchOptions): Promise<Uint8Array> {
  const { maxBytes, section } = options;
  if (length !== undefined && length > maxBytes)
    throw tooLarge(name, { section, maxBytes, has: `is listed with ${length}` });
  return fetchExisting(name, { ...options, maxBytes: length ?? maxBytes });
}

const tooLarge = (where: string, o: { readonly section: string; readonly maxBytes: number; readonly has: string }) =>
  new TufError('TUF_TOO_LARGE', `${where} ${o.has} bytes; at most ${o.maxBytes} are read.`, {
    section: o.section,
    where,
  });
