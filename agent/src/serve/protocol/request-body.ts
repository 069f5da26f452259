import type { IncomingMessage } from 'node:http';
import type { Static, TSchema } from 'typebox';
import { formatProblems, validate } from '@drover/shared/validation';
import { ServeError } from '../errors.js';

const invalid = (why: string, cause?: unknown): ServeError =>
  new ServeError('REQUEST_INVALID', `The request body ${why}.`, {
    remedy: 'Send a JSON document as the Open Inference Protocol v2 describes it.',
    cause,
  });

/**
 * Reads a JSON body, bounded while it streams. An empty body reads as `{}`.
 *
 * @throws ServeError REQUEST_TOO_LARGE, REQUEST_INVALID
 */
export async function readBody<Schema extends TSchema>(
  request: IncomingMessage,
  schema: Schema,
  maxBytes: number,
): Promise<Static<Schema>> {
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') throw invalid('is compressed, which is not served');
  if (request.headers['inference-header-content-length'] !== undefined)
    throw invalid('holds binary tensors, which are not served');
  const bytes = await readBytes(request, maxBytes);
  let json: unknown;
  try {
    json = bytes.length === 0 ? {} : JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw invalid('is not JSON', cause);
  }
  return validate(schema, json, (problems) => invalid(`is malformed: ${formatProblems(problems)}`));
}

function readBytes(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const tooLarge = (): ServeError =>
    new ServeError('REQUEST_TOO_LARGE', `The request body is larger than ${maxBytes} bytes.`, {
      remedy: 'Send smaller batches.',
    });
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) return Promise.reject(tooLarge());
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let received = 0;
    request.on('data', (chunk: Buffer) => {
      received += chunk.length;
      if (received <= maxBytes) chunks.push(chunk);
      else {
        chunks.length = 0;
        reject(tooLarge());
      }
    });
    request.on('end', () => resolve(Buffer.concat(chunks)));
    request.on('close', () => reject(invalid('ended early')));
    request.on('error', (cause) => reject(invalid('could not be read', cause)));
  });
}
