import type { MetadataFetcher } from '@drover/shared/trust/tuf';

/** Reads at most one byte more than allowed, so that the client sees that there is too much. */
export async function fetchBounded(url: URL, maxBytes: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
  const response = await fetch(url, { signal });
  if (response.status === 404) return undefined;
  if (!response.ok || response.body === null) throw new Error(`${url.href} answered ${response.status}.`);
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > maxBytes) break;
  }
  return Buffer.concat(chunks);
}

export const httpFetcher = (baseUrl: URL): MetadataFetcher => ({
  fetch: (name, { maxBytes, signal }) => fetchBounded(new URL(name, baseUrl), maxBytes, signal),
});
