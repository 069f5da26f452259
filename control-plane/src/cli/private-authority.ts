import { request } from 'node:https';
import { pipeline, Readable } from 'node:stream';

/** The part of `fetch` that the command line uses. */
export type Send = (
  url: string,
  init: {
    readonly method: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly redirect: 'error';
    readonly body?: string | Blob;
    readonly signal?: AbortSignal;
  },
) => Promise<Response>;

/**
 * For a control plane whose certificate a private authority issued: `fetch` itself takes further authorities only by NODE_EXTRA_CA_CERTS, at the
 * start of the process. A redirect is an answer like any other here.
 */
export const sendBelieving =
  (ca: string): Send =>
  (url, { method, headers, body, signal }) =>
    new Promise((resolve, reject) => {
      const length = body instanceof Blob ? { 'content-length': String(body.size) } : {};
      const asked = request(
        url,
        { method, ca, headers: { ...headers, ...length }, ...(signal && { signal }) },
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
      // Not once: it may fail again after the answer has come, which whoever reads the answer notices.
      asked.on('error', reject);
      if (!(body instanceof Blob)) asked.end(body);
      // A model may be larger than the memory. Where it cannot be read, the request fails with the reason.
      else pipeline(Readable.fromWeb(body.stream()), asked, (error) => error && reject(error));
    });
