import { get } from 'node:http';
import { DIGEST_PATTERN, type Digest } from '@drover/shared/ids';
import type { AttachedModel } from '../config/index.js';
import { AttachError } from './errors.js';
import { runProgram } from './program.js';

type HealthCheck = NonNullable<AttachedModel['health']>;

const MAX_ANSWER_BYTES = 64 * 1024;
const digestForm = new RegExp(DIGEST_PATTERN);

/**
 * Asks the application once. What it prints or answers may be JSON with `loaded`: then that is its word for what it has loaded.
 *
 * @throws AttachError ATTACH_UNHEALTHY; the signal's reason
 */
export async function checkHealth(
  check: HealthCheck,
  environment: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<{ readonly loaded?: Digest | undefined }> {
  try {
    const { timeoutMs } = check;
    const answer =
      'command' in check
        ? await runProgram({ command: check.command, environment, timeoutMs }, signal)
        : await request(check.http, AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]));
    return { loaded: loadedIn(answer) };
  } catch (cause) {
    signal.throwIfAborted();
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AttachError('ATTACH_UNHEALTHY', `The health check of the application failed: ${why}.`, {
      where: 'command' in check ? check.command[0] : check.http,
      remedy: 'Read the log of the application, and see that it runs.',
      cause,
    });
  }
}

function loadedIn(answer: string): Digest | undefined {
  let json: unknown;
  try {
    json = JSON.parse(answer);
  } catch {
    // Any output will do for being healthy.
    return undefined;
  }
  const loaded = typeof json === 'object' && json !== null && 'loaded' in json ? json.loaded : undefined;
  return typeof loaded === 'string' && digestForm.test(loaded) ? (loaded as Digest) : undefined;
}

function request(url: string, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    // A connection for each look: one that is kept could be closed by the application just before it is used.
    const asking = get(url, { signal, agent: false }, (response) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      response.on('error', reject);
      response.on('data', (part: Buffer) => {
        bytes += part.length;
        if (bytes > MAX_ANSWER_BYTES) asking.destroy(new Error(`it answered more than ${MAX_ANSWER_BYTES} bytes`));
        else parts.push(part);
      });
      response.on('end', () => {
        if (response.statusCode === 200) resolve(Buffer.concat(parts).toString('utf8'));
        else reject(new Error(`it answered ${response.statusCode ?? 'nothing'}`));
      });
    });
    asking.on('error', reject);
  });
}
