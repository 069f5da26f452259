import { Command } from 'commander';
import { ModelName, Version } from '@drover/shared/ids';
import { modelSigners, proposalOf, releasePath, renew, withoutRelease } from '@drover/shared/trust/ceremony';
import { RegistryError } from '../../registry/errors.js';
import { requireRepository } from '../ceremony/known-repository.js';
import type { Session } from '../program.js';
import { parseReleaseName } from '../units.js';
import { finish, withDraftOptions, type DraftOptions } from './keys/finish.js';

/** `drover model withdraw`: the same ceremony as publishing, by the holders of the model. */
export const withdrawCommand = (session: Session): Command =>
  withDraftOptions(
    new Command('withdraw')
      .description(
        'Stand by a release no more: no device takes it again, also none that ran it before. What runs it goes on until it is ordered something else.',
      )
      .argument('<model@version>'),
  )
    .addHelpText(
      'after',
      '\nExamples:\n  drover model withdraw gas-classifier@1.2.0 --key dave.key --publish\n  drover model withdraw gas-classifier@1.2.0 --key dave.key --out withdraw.json',
    )
    .action(async (name: string, options: DraftOptions) => {
      const named = parseReleaseName(name);
      const [model, version] = [ModelName(named.model), Version(named.version)];
      const known = await requireRepository(session.client(), session.terminal.interrupted);
      const role = known.models.get(model);
      const path = releasePath(model, version);
      if (!role || !Object.hasOwn(role.targets, path)) {
        throw new RegistryError('RELEASE_UNKNOWN', `${model}@${version} is not listed by its publishers.`, {
          remedy: `See what is in \`drover model show ${model}\`; what was withdrawn already needs nothing.`,
        });
      }
      const signed = withoutRelease(renew(role, Date.now() + options.expires), path);
      const draft = proposalOf([{ role: model, signed, signers: modelSigners(known.targets, model) }]);
      await finish(session, draft, options, `withdraw-${model}-${version}`);
    });
