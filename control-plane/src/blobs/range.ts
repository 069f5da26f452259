import { BlobError } from './errors.js';
import type { ByteRange } from './store.js';

/**
 * Reads a Range header (RFC 9110, section 14.2). Undefined means: send everything, which the RFC allows for units and lists of ranges
 * that a server does not support.
 *
 * @throws BlobError BLOB_RANGE_INVALID if it asks for nothing that exists
 */
export function parseRange(header: string | undefined, bytes: number): ByteRange | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '');
  const [, first = '', last = ''] = match ?? [];
  if (first === '' && last === '') return undefined;
  const start = first === '' ? Math.max(0, bytes - Number(last)) : Number(first);
  const end = first === '' || last === '' ? bytes - 1 : Math.min(Number(last), bytes - 1);
  if (first !== '' && last !== '' && Number(last) < Number(first)) return undefined;
  if (start < bytes && !(first === '' && Number(last) === 0)) return { start, end };
  throw new BlobError(
    'BLOB_RANGE_INVALID',
    `The range ${header ?? ''} lies outside of the ${bytes} bytes of this file.`,
    {
      remedy: 'Ask for its size with HEAD and for a range within it.',
    },
  );
}
