import type { SentDocument } from '../../release-repository/index.js';
import { MAX_PUBLICATION_BYTES, MAX_PUBLICATION_DOCUMENTS } from '../../release-repository/publication-bounds.js';

/** Around the documents in the body of a request: `{"documents":[]}`. */
const FRAME_BYTES = 16;

export interface DocumentsToSend {
  /** Those that only hold together: a change of keys, and the roles that it would leave unsigned. */
  readonly together: readonly SentDocument[];
  /** Each of which may be published after them by itself. */
  readonly others: readonly SentDocument[];
}

/** As few publications as the control plane takes; what has to come together comes first, in one. */
export function toBatches({ together, others }: DocumentsToSend): SentDocument[][] {
  const batches: SentDocument[][] = [];
  let batch = [...together];
  let bytes = FRAME_BYTES + batch.reduce((sum, document) => sum + bytesOf(document), 0);
  for (const document of others) {
    const size = bytesOf(document);
    const isFull = batch.length >= MAX_PUBLICATION_DOCUMENTS || bytes + size > MAX_PUBLICATION_BYTES;
    if (batch.length > 0 && isFull) {
      batches.push(batch);
      [batch, bytes] = [[], FRAME_BYTES];
    }
    batch.push(document);
    bytes += size;
  }
  return batch.length === 0 ? batches : [...batches, batch];
}

/** With the comma after it. */
const bytesOf = (document: SentDocument): number => Buffer.byteLength(JSON.stringify(document)) + 1;
