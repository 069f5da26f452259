import { Command } from 'commander';
import { occasionalSigner } from '@drover/shared/trust';
import { createRequest, parseRequest, signRequest, toEnvelope, type RecoveryView } from '../../recovery/index.js';
import { openKey } from '../ceremony/key-files.js';
import { readJson, writeJson } from '../files.js';
import type { Session } from '../program.js';
import { parseCount } from '../units.js';

/** What follows a restore: the holders of the root keys vouch for the new epoch of the control plane. */
export const recoveryCommands = ({ client, answer, terminal }: Session): Command => {
  const recovery = new Command('recovery').description(
    'After a restored backup: devices take orders again once the root keys have signed a new epoch.',
  );

  recovery
    .command('show', { isDefault: true })
    .description('Tell whether the control plane waits for a recovery, and which epoch it gives orders in.')
    .addHelpText('after', '\nExample:\n  drover recovery show')
    .action(async () => {
      const view = await client().get<RecoveryView>('/recovery');
      answer(
        view,
        view.pending
          ? `${view.pending.reason}: the control plane gives no orders. Next: drover recovery request`
          : `Epoch ${view.epoch}; nothing to recover from.`,
      );
    });

  recovery
    .command('request')
    .description('Write what the holders of the root keys have to sign.')
    .requiredOption('--reason <text>', 'why; every device keeps it in its log')
    .requiredOption('--out <file>', 'where to write it')
    .option('--epoch <number>', 'a higher epoch than the next one, where the database was lost altogether', parseCount)
    .addHelpText(
      'after',
      '\nExample:\n  drover recovery request --reason "disk died, backup of Tuesday" --out recovery.json',
    )
    .action(async ({ reason, out, epoch }: { reason: string; out: string; epoch?: number }) => {
      const { next } = await client().get<RecoveryView>('/recovery');
      const statement = { ...next, epoch: Math.max(next.epoch, epoch ?? 0), reason, issuedAt: Date.now() };
      writeJson(out, createRequest({ protocol: 1, kind: 'recovery', ...statement }), { replace: false });
      answer(
        { out, epoch: statement.epoch },
        `Wrote ${out}. Each holder of a root key runs: drover recovery sign ${out} --key ROOT.key\nThen: drover recovery install ${out}`,
      );
    });

  recovery
    .command('sign')
    .description('Add the signature of a root key to a recovery request. Needs no network.')
    .argument('<file>', 'the request; it is replaced by the signed one')
    .requiredOption('--key <file>', 'a root key')
    .option('--passphrase-file <file>', 'file that holds its passphrase')
    .addHelpText('after', '\nExample:\n  drover recovery sign recovery.json --key root-1.key')
    .action(async (file: string, { key, passphraseFile }: { key: string; passphraseFile?: string }) => {
      const request = parseRequest(readJson(file));
      const signed = signRequest(request, occasionalSigner(await openKey(terminal, key, passphraseFile)));
      writeJson(file, signed, { replace: true });
      const { epoch, reason } = signed.statement;
      answer(
        { file, signatures: signed.signatures.map(({ keyid }) => keyid) },
        `Signed: epoch ${epoch}, "${reason}". ${signed.signatures.length} signature(s) so far.`,
      );
    });

  recovery
    .command('install')
    .description(
      'Give the signed statement to the control plane, which hands it to every device and gives orders again.',
    )
    .argument('<file>', 'the signed request')
    .addHelpText('after', '\nExample:\n  drover recovery install recovery.json')
    .action(async (file: string) => {
      const view = await client().send<RecoveryView>(
        'PUT',
        '/recovery/statement',
        toEnvelope(parseRequest(readJson(file))),
      );
      answer(
        view,
        `The control plane gives orders again, in epoch ${view.epoch}. Rollouts that ran are paused: look at them before you resume them.`,
      );
    });
  return recovery;
};
