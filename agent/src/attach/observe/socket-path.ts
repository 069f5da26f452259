import { AttachError } from '../errors.js';

/** Room for the path in `sockaddr_un`, without the byte that ends it: 108 bytes on Linux, 104 elsewhere. Longer ones are cut, and nobody finds the socket. */
export const MAX_SOCKET_PATH_BYTES = process.platform === 'linux' ? 107 : 103;

/** @throws AttachError OBSERVE_SOCKET_UNUSABLE */
export function demandShortEnough(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes <= MAX_SOCKET_PATH_BYTES) return;
  throw new AttachError(
    'OBSERVE_SOCKET_UNUSABLE',
    `${path} has ${bytes} bytes; the path of a socket can have ${MAX_SOCKET_PATH_BYTES}.`,
    { where: path, remedy: 'Set attach.socket to a shorter path, such as /run/drover/observe.sock.' },
  );
}
