import { Command } from 'commander';
import { ModelName } from '@drover/shared/ids';
import { keyIdOf, type PublicKey } from '@drover/shared/trust';
import { delegationOf, type Holders } from '@drover/shared/trust/ceremony';
import {
  draftChange,
  draftFirst,
  isDelegated,
  presentHolders,
  requireEnough,
  type Change,
} from '../../ceremony/draft.js';
import { readPublicKeys } from '../../ceremony/key-files.js';
import { findRepository, requireRepository, type KnownRepository } from '../../ceremony/known-repository.js';
import { CliError } from '../../errors.js';
import type { Session } from '../../program.js';
import { collectText, parseCount } from '../../units.js';
import { finish, withDraftOptions, type DraftOptions } from './finish.js';

const expiry = ({ expires }: DraftOptions): number => Date.now() + expires;
const usage = (what: string, remedy: string) => new CliError('CLI_USAGE', what, { remedy });

interface InitOptions extends DraftOptions {
  readonly rootKey: readonly string[];
  readonly rootThreshold: number;
  readonly targetsKey: readonly string[];
  readonly targetsThreshold: number;
}

export const initCommand = (session: Session): Command =>
  withDraftOptions(
    new Command('init')
      .description(
        'Begin a release repository: its first root (who decides about keys) and targets (who delegates models).',
      )
      .requiredOption('--root-key <file>', 'public key of a holder of root; may be repeated', collectText)
      .option('--root-threshold <count>', 'how many of them have to sign', parseCount, 1)
      .requiredOption('--targets-key <file>', 'public key of a holder of targets; may be repeated', collectText)
      .option('--targets-threshold <count>', 'how many of them have to sign', parseCount, 1),
  )
    .addHelpText(
      'after',
      '\nExample:\n  drover keys init --root-key alice.public.json --root-key bob.public.json --root-threshold 2 --targets-key carol.public.json --out first.json',
    )
    .action(async (options: InitOptions) => {
      const target = session.client();
      if ((await findRepository(target, session.terminal.interrupted)) !== undefined)
        throw usage(
          'This control plane has a release repository already.',
          'Change it with `drover keys rotate`, `revoke` or `delegate`.',
        );
      const root: Holders = { keys: readPublicKeys(options.rootKey), threshold: options.rootThreshold };
      const targets: Holders = { keys: readPublicKeys(options.targetsKey), threshold: options.targetsThreshold };
      requireEnough('root', root);
      requireEnough('targets', targets);
      const { items } = await target.get<{ items: PublicKey[] }>('/repository/online-keys');
      const online: Holders = { keys: items.slice(-1), threshold: 1 };
      const { proposal } = draftFirst({ root, targets, online, expiresAtMs: expiry(options) });
      await finish(session, proposal, options, 'first');
    });

interface DelegateOptions extends DraftOptions {
  readonly modelKey: readonly string[];
  readonly threshold: number;
}

export const delegateCommand = (session: Session): Command =>
  withDraftOptions(
    new Command('delegate')
      .description('Let these keys sign the releases of a model. Signed by the holders of targets.')
      .argument('<model>')
      .requiredOption('--model-key <file>', 'public key of somebody who may sign; may be repeated', collectText)
      .option('--threshold <count>', 'how many of them have to sign a release', parseCount, 1),
  )
    .addHelpText(
      'after',
      '\nExample:\n  drover keys delegate gas-classifier --model-key dave.public.json --out delegate.json',
    )
    .action(async (model: string, options: DelegateOptions) => {
      const name = ModelName(model);
      const known = await requireRepository(session.client(), session.terminal.interrupted);
      if (isDelegated(known, name))
        throw usage(`${name} is delegated already.`, `Change its keys with \`drover keys rotate ${name}\`.`);
      const holders: Holders = { keys: readPublicKeys(options.modelKey), threshold: options.threshold };
      requireEnough(name, holders);
      const draft = draftChange(known, { models: new Map([[name, holders]]) }, expiry(options));
      await finish(session, draft, options, `delegate-${name}`);
    });

interface RotateOptions extends DraftOptions {
  readonly add?: readonly string[];
  readonly remove?: readonly string[];
  readonly threshold?: number;
}

export const rotateCommand = (session: Session): Command =>
  withDraftOptions(
    new Command('rotate')
      .description(
        'Change who holds a role: root, targets, a model, or "online" (the control plane makes itself a new key).',
      )
      .argument('<role>')
      .option('--add <file>', 'public key to add; may be repeated', collectText)
      .option('--remove <key>', 'key to take out: its file, or the beginning of its id; may be repeated', collectText)
      .option('--threshold <count>', 'how many have to sign from now on', parseCount),
  )
    .addHelpText(
      'after',
      '\nExamples:\n  drover keys rotate root --add erin.public.json --remove 3f9a01 --out rotate.json\n  drover keys rotate online --key root.key --publish',
    )
    .action(async (role: string, options: RotateOptions) => {
      const target = session.client();
      const known = await requireRepository(target, session.terminal.interrupted);
      const { add = [], remove = [], threshold } = options;
      const present = presentHolders(known, role);
      if (role === 'online') {
        if (add.length + remove.length > 0 || threshold !== undefined)
          throw usage('The control plane makes its online key itself.', 'Leave out --add, --remove and --threshold.');
        const key = await target.send<PublicKey>('POST', '/repository/online-keys');
        await finish(
          session,
          draftChange(known, { online: { keys: [key], threshold: 1 } }, expiry(options)),
          options,
          'rotate-online',
        );
        return;
      }
      if (add.length + remove.length === 0 && threshold === undefined)
        throw usage(
          'Nothing is to be changed.',
          'Give --add, --remove or --threshold; for a later expiry alone there is `drover keys renew`.',
        );
      const removed = new Set(remove.map((name) => idOf(name, present)));
      const kept = present.keys.filter(({ publicKey }) => !removed.has(keyIdOf(publicKey)));
      const holders: Holders = { keys: [...kept, ...readPublicKeys(add)], threshold: threshold ?? present.threshold };
      requireEnough(role, holders);
      await finish(session, draftChange(known, changeOf(role, holders), expiry(options)), options, `rotate-${role}`);
    });

const changeOf = (role: string, holders: Holders): Change => {
  if (role === 'root' || role === 'targets') return { [role]: holders };
  return { models: new Map([[ModelName(role), holders]]) };
};

/** A key file, or the beginning of an id that only one key has. */
function idOf(name: string, { keys }: Holders): string {
  const ids = keys.map(({ publicKey }) => keyIdOf(publicKey));
  const found = /^[0-9a-f]{6,64}$/.test(name)
    ? ids.filter((id) => id.startsWith(name))
    : readPublicKeys([name])
        .map(({ keyId }) => keyId)
        .filter((keyId) => ids.includes(keyId));
  const [id] = found;
  if (id !== undefined && found.length === 1) return id;
  throw usage(
    `"${name}" names ${found.length} of these keys: ${ids.map((each) => each.slice(0, 12)).join(', ')}.`,
    'Give the key file, or more digits of the id.',
  );
}

export const revokeCommand = (session: Session): Command =>
  withDraftOptions(
    new Command('revoke')
      .description(
        'Take a key out of every role that it holds. Devices believe nothing by it from their next refresh on.',
      )
      .argument('<key>', 'its file, or the beginning of its id'),
  )
    .addHelpText('after', '\nExample:\n  drover keys revoke 3f9a01c2 --out revoke.json')
    .action(async (name: string, options: DraftOptions) => {
      const known = await requireRepository(session.client(), session.terminal.interrupted);
      const change = revocation(known, name);
      await finish(session, draftChange(known, change, expiry(options)), options, 'revoke');
    });

function revocation(known: KnownRepository, name: string): Change {
  const models = known.targets.delegations?.roles?.map((role) => role.name) ?? [];
  const holdersBefore = new Map(
    ['root', 'targets', ...models].map((role) => [role, presentHolders(known, role)] as const),
  );
  const everybody = { keys: [...holdersBefore.values()].flatMap(({ keys }) => keys), threshold: 1 };
  const distinct = [...new Map(everybody.keys.map((key) => [key.publicKey, key])).values()];
  const revoked = idOf(name, { keys: distinct, threshold: 1 });
  const changed = [...holdersBefore].flatMap(([role, before]) => {
    const keys = before.keys.filter(({ publicKey }) => keyIdOf(publicKey) !== revoked);
    if (keys.length === before.keys.length) return [];
    const holders = { keys, threshold: before.threshold };
    if (keys.length < before.threshold) {
      throw new CliError(
        'CLI_KEYS_BELOW_THRESHOLD',
        `Without this key ${role} has ${keys.length} keys, and ${before.threshold} have to sign.`,
        {
          remedy: `Put another in its place: \`drover keys rotate ${role} --add NEW.public.json --remove ${revoked.slice(0, 12)}\`.`,
        },
      );
    }
    return [[role, holders] as const];
  });
  const of = (role: string) => changed.find(([each]) => each === role)?.[1];
  const [root, targets] = [of('root'), of('targets')];
  return {
    ...(root && { root }),
    ...(targets && { targets }),
    models: new Map(
      changed
        .filter(([role]) => delegationOf(known.targets, role))
        .map(([role, holders]) => [ModelName(role), holders]),
    ),
  };
}

export const renewCommand = (session: Session): Command =>
  withDraftOptions(
    new Command('renew')
      .description('Sign roles anew as they are, so that they hold longer: root, targets, models.')
      .argument('<role...>'),
  )
    .addHelpText('after', '\nExample:\n  drover keys renew root targets --expires 365d --out renew.json')
    .action(async (roles: string[], options: DraftOptions) => {
      const known = await requireRepository(session.client(), session.terminal.interrupted);
      for (const role of roles) {
        presentHolders(known, role);
        if (role === 'online') throw usage('The control plane renews what it signs by itself.', 'Leave out "online".');
        if (isDelegated(known, role) && !known.models.has(ModelName(role)))
          throw usage(`${role} has published nothing that could be renewed.`, 'Leave it out.');
      }
      await finish(session, draftChange(known, { renew: roles }, expiry(options)), options, 'renew');
    });
