import { Command } from 'commander';
import type { Session } from '../../program.js';
import { createCommand, publicCommand } from './files.js';
import { delegateCommand, initCommand, renewCommand, revokeCommand, rotateCommand } from './ceremonies.js';
import { exportCommand, publishCommand, showCommand, signCommand } from './signing.js';

/**
 * The ceremonies of the release repository. A ceremony makes a file of documents (init, delegate, rotate, revoke, renew); its holders sign it in turn,
 * each on their own machine and without a network (sign); whoever has the whole file gives it to the control plane (publish).
 */
export const keyCommands = (session: Session): Command => {
  const keys = new Command('keys').description('Signing keys and the ceremonies of the release repository.');
  for (const command of [
    createCommand(session),
    publicCommand(session),
    initCommand(session),
    delegateCommand(session),
    rotateCommand(session),
    revokeCommand(session),
    renewCommand(session),
    signCommand(session),
    publishCommand(session),
    showCommand(session),
    exportCommand(session),
  ]) {
    keys.addCommand(command);
  }
  return keys;
};
