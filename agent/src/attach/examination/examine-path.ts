import { lstat, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { systemCode } from '../../host/index.js';
import { AttachError } from '../errors.js';
import { PlacedReleases } from '../placed-release.js';

/**
 * Makes and switches a link of its own beside that of the application, as an update would. The path itself is left alone.
 *
 * @returns what was found
 * @throws AttachError ATTACH_PATH_UNUSABLE
 */
export async function examinePath(path: string): Promise<string> {
  const above = dirname(path);
  const found = await lstat(path).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw unusable(path, error);
  });
  if (found && !found.isSymbolicLink()) throw unusable(path, 'something that is no symbolic link lies there');
  const folder = await mkdtemp(join(above, '.drover-doctor-')).catch((error: unknown) => {
    throw unusable(path, error);
  });
  try {
    const placed = new PlacedReleases(join(folder, 'link'));
    for (const name of ['first', 'second']) {
      const target = join(folder, name);
      await mkdir(target);
      await placed.switchTo(target);
      if ((await placed.linked()) !== target) throw unusable(path, 'a link that was switched leads elsewhere');
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return found ? `${path} is a link, and can be switched` : `${path} can be made, and switched`;
}

function unusable(path: string, cause: unknown): AttachError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new AttachError('ATTACH_PATH_UNUSABLE', `No release can be put at ${path}: ${why}.`, {
    where: path,
    remedy: `Make ${dirname(path)}, on a file system with symbolic links, for the user of the agent to write (under systemd: ReadWritePaths=), and remove what else lies at the path.`,
    cause,
  });
}
