import { request } from 'node:https';
import { Readable } from 'node:stream';

/**
 * The part of `fetch` that the command line uses, for a control plane whose certificate a private authority issued: `fetch` itself takes
 * further authorities only by NODE_EXTRA_CA_CERTS, at the start of the process.
 */
export const fetchBelieving =
  (ca: string): typeof fetch =>
  async (input, init = {}) => {
    const { method = 'GET', headers, body, signal } = init;
    const bytes = body instanceof Blob ? Buffer.from(await body.arrayBuffer()) : body;
    return new Promise((resolve, reject) => {
      const asked = request(
        new URL(input instanceof Request ? input.url : input),
        { method, ca, headers: Object.fromEntries(new Headers(headers)), ...(signal ? { signal } : {}) },
        (answer) => {
          const { statusCode: status = 0 } = answer;
          const isBodiless = method === 'HEAD' || status === 204 || status === 304;
          if (isBodiless) answer.resume();
          resolve(
            new Response(isBodiless ? null : (Readable.toWeb(answer) as ReadableStream<Uint8Array>), {
              status,
              headers: Object.fromEntries(Object.entries(answer.headers).map(([name, value]) => [name, String(value)])),
            }),
          );
        },
      );
      asked.once('error', reject);
      asked.end(bytes instanceof Uint8Array || typeof bytes === 'string' ? bytes : undefined);
    });
  };
