import { Command } from 'commander';
import { restoreBackup, takeBackup } from '../../recovery/index.js';
import type { Session } from '../program.js';
import { formatBytes, formatTime } from '../terminal.js';

/** Work on files of this machine, beside a control plane that may run or not. */
export const backupCommand = ({ terminal, answer, version }: Session): Command =>
  new Command('backup')
    .description(
      'Copy the whole state of a control plane on this machine, while it runs. It holds private keys: keep it like them.',
    )
    .requiredOption('--data-dir <folder>', 'data directory of the control plane')
    .requiredOption('--out <folder>', 'a new folder for this backup; an interrupted backup is finished in its folder')
    .addHelpText(
      'after',
      '\nExample:\n  drover backup --data-dir /var/lib/drover-control-plane --out /backups/2026-11-25',
    )
    .action(async ({ dataDir, out }: { dataDir: string; out: string }) => {
      const { progress, total } = counted(terminal);
      const { files, takenAt } = await takeBackup({
        dataDir,
        out,
        version,
        now: Date.now,
        signal: terminal.interrupted,
        onFile: progress,
      });
      answer(
        { out, takenAt, files: files.length, bytes: total() },
        `Backed up ${files.length} files, ${formatBytes(total())}, to ${out}. It holds private keys: keep it where only you can read.`,
      );
    });

export const restoreCommand = ({ terminal, answer }: Session): Command =>
  new Command('restore')
    .description('Put a backup in place as the data directory of a control plane that does not run.')
    .argument('<backup>', 'folder that `drover backup` wrote')
    .requiredOption('--data-dir <folder>', 'data directory to make; it must be empty or missing')
    .addHelpText('after', '\nExample:\n  drover restore /backups/2026-11-25 --data-dir /var/lib/drover-control-plane')
    .action(async (backup: string, { dataDir }: { dataDir: string }) => {
      const { progress } = counted(terminal);
      const { files, takenAt } = await restoreBackup({
        backup,
        dataDir,
        now: Date.now,
        signal: terminal.interrupted,
        onFile: progress,
      });
      answer(
        { dataDir, takenAt, files: files.length },
        `Restored ${files.length} files as they were at ${formatTime(takenAt)} UTC.
Start the control plane on them. It gives no orders, and devices go on as they are, until the holders of the root keys have
signed what \`drover recovery request\` writes and you have installed it with \`drover recovery install\`.`,
      );
    });

/** A line for every hundred files or 100 MiB, whichever comes later for small ones. */
function counted(terminal: Session['terminal']) {
  let files = 0;
  let bytes = 0;
  let toldBytes = 0;
  return {
    total: () => bytes,
    progress: (_path: string, fileBytes: number) => {
      files += 1;
      bytes += fileBytes;
      if (files % 100 !== 0 && bytes - toldBytes < 100 * 1024 ** 2) return;
      toldBytes = bytes;
      terminal.err(`${files} files, ${formatBytes(bytes)} …`);
    },
  };
}
