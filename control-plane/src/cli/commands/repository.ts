import { Command } from 'commander';
import { copyRepository } from '../repository-copy/copy.js';
import { publishCopy } from '../repository-copy/publish-copy.js';
import { backupSource, controlPlaneSource } from '../repository-copy/source.js';
import type { Session } from '../program.js';

/** Copies of what publishers signed: what is in their hands survives the control plane. */
export const repositoryCommands = ({ client, answer, terminal, progress }: Session): Command => {
  const repository = new Command('repository').description(
    'Copies of the release repository: what publishers signed, and the files of their releases.',
  );

  repository
    .command('download')
    .description('Copy what was published into a folder, after each publication or from a backup.')
    .requiredOption('--out <folder>', 'where to; what it has already is kept, so that one folder follows a repository')
    .option('--backup <folder>', 'from this backup instead of the control plane')
    .option('--metadata-only', 'leave out the files of releases')
    .addHelpText(
      'after',
      '\nExamples:\n  drover repository download --out copies\n  drover repository download --backup /backups/2026-11-25 --out copies',
    )
    .action(async ({ out, backup, metadataOnly = false }: DownloadOptions) => {
      const source = backup === undefined ? controlPlaneSource(client()) : await backupSource(backup);
      try {
        const copied = await copyRepository({ source, out, metadataOnly, signal: terminal.interrupted, progress });
        answer(
          { out, ...copied },
          `${copied.roles.map(({ role, version }) => `${version}.${role}.json`).join(', ')}\nand ${copied.files} new files, in ${out}.`,
        );
      } finally {
        await source.close();
      }
    });

  repository
    .command('publish')
    .description(
      'Publish again, from such a folder, what the control plane no longer has. It was signed before: no key is needed.',
    )
    .argument('<folder>')
    .addHelpText('after', '\nExample, after a restore:\n  drover repository publish copies')
    .action(async (folder: string) => {
      const published = await publishCopy({ client: client(), folder, signal: terminal.interrupted, progress });
      answer(
        { published },
        published.length === 0
          ? 'The control plane has all that is in this folder.'
          : `Published ${published.map(({ role, version }) => `${role} version ${version}`).join(', ')}.`,
      );
    });
  return repository;
};

interface DownloadOptions {
  readonly out: string;
  readonly backup?: string;
  readonly metadataOnly?: boolean;
}
