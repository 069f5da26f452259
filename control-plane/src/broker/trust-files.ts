import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../durable-file.js';
import { BrokerError } from './errors.js';

export interface TrustFilesOptions {
  readonly folder: string;
  /** PEM: whose clients a broker beside the control plane believes, and which of them no more. */
  readonly trust: () => Promise<{ readonly authorities: string; readonly revocationLists: string }>;
  readonly onError: (error: unknown) => void;
  readonly intervalMs?: number;
}

export interface TrustFiles {
  /** Writes what changed, now. @throws BrokerError BROKER_TRUST_UNWRITABLE */
  write(): Promise<void>;
  close(): Promise<void>;
}

/** A revocation list holds for a week: a broker that gets no newer one lets nobody in. */
const DAILY_MS = 86_400_000;

/**
 * Keeps `ca.crt` and `revoked.crl` for a broker beside the control plane; whoever runs the broker reloads it when they change.
 *
 * @throws BrokerError BROKER_TRUST_UNWRITABLE
 */
export async function keepTrustFiles({
  folder,
  trust,
  onError,
  intervalMs = DAILY_MS,
}: TrustFilesOptions): Promise<TrustFiles> {
  await inFolder(folder, () => mkdir(folder, { recursive: true }));
  let writing: Promise<void> = Promise.resolve();
  const write = (): Promise<void> =>
    (writing = writing
      // Who asked for that one was told.
      .catch(() => undefined)
      .then(async () => {
        const { authorities, revocationLists } = await trust();
        await inFolder(folder, async () => {
          await put(folder, 'ca.crt', authorities);
          await put(folder, 'revoked.crl', revocationLists);
        });
      }));
  await write();
  const timer = setInterval(() => void write().catch(onError), intervalMs);
  return {
    write,
    async close() {
      clearInterval(timer);
      await writing.catch(() => undefined);
    },
  };
}

async function put(folder: string, name: string, text: string): Promise<void> {
  const file = join(folder, name);
  if ((await readIfThere(file)) === text) return;
  const temporary = `${file}.new`;
  try {
    // The user of the broker has to read them; neither is a secret.
    await writeFile(temporary, text, { mode: 0o644, flush: true });
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(folder);
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function inFolder(folder: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (cause) {
    throw new BrokerError(
      'BROKER_TRUST_UNWRITABLE',
      `The authorities and revocations for the broker cannot be written: ${(cause as Error).message}.`,
      {
        where: folder,
        remedy: 'Give the folder (`brokerTrust`) to the user of the control plane, and see that its disk has space.',
        cause,
      },
    );
  }
}
