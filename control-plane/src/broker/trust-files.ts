import { mkdirSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface TrustFilesOptions {
  readonly folder: string;
  /** PEM: whose clients a broker beside the control plane believes, and which of them no more. */
  readonly trust: () => Promise<{ readonly authorities: string; readonly revocationLists: string }>;
  readonly onError: (error: unknown) => void;
  readonly intervalMs?: number;
}

export interface TrustFiles {
  /** Writes what changed, now. */
  write(): Promise<void>;
  close(): Promise<void>;
}

/** A revocation list holds for a week: a broker that gets no newer one lets nobody in. */
const DAILY_MS = 86_400_000;

/** Keeps `ca.crt` and `revoked.crl` for a broker beside the control plane; whoever runs the broker reloads it when they change. */
export async function keepTrustFiles({
  folder,
  trust,
  onError,
  intervalMs = DAILY_MS,
}: TrustFilesOptions): Promise<TrustFiles> {
  mkdirSync(folder, { recursive: true });
  let writing: Promise<void> = Promise.resolve();
  async function put(name: string, text: string): Promise<void> {
    const file = join(folder, name);
    const present = await readFile(file, 'utf8').catch(() => undefined);
    if (present === text) return;
    // The user of the broker has to read them; neither is a secret.
    await writeFile(`${file}.new`, text, { mode: 0o644, flush: true });
    await rename(`${file}.new`, file);
  }
  const write = (): Promise<void> =>
    (writing = writing
      .catch(() => undefined)
      .then(async () => {
        const { authorities, revocationLists } = await trust();
        await put('ca.crt', authorities);
        await put('revoked.crl', revocationLists);
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
