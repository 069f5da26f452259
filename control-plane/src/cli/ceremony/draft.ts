import type { ModelName } from '@drover/shared/ids';
import {
  delegate,
  delegationOf,
  firstRoot,
  firstTargets,
  holdersOf,
  modelSigners,
  nextRoot,
  proposalOf,
  renew,
  rootHoldersOf,
  rootSigners,
  targetsSigners,
  type Holders,
  type Proposal,
  type ProposedDocument,
} from '@drover/shared/trust/ceremony';
import type { Root, Targets } from '@drover/shared/trust/tuf';
import { CliError } from '../errors.js';
import type { KnownRepository } from './known-repository.js';

/** What shall be different. Roles that have to be signed anew because of it come along by themselves. */
export interface Change {
  readonly root?: Holders;
  readonly targets?: Holders;
  readonly online?: Holders;
  readonly models?: ReadonlyMap<ModelName, Holders>;
  /** Roles whose content stays and whose expiry moves. */
  readonly renew?: readonly string[];
}

/** The documents of a change, in the order of trust; none for a change of nothing. */
export function draftChange(known: KnownRepository, change: Change, expiresAtMs: number): Proposal {
  const wanted = new Set(change.renew ?? []);
  const { models: holdersByModel = new Map<ModelName, Holders>() } = change;
  const documents: Omit<ProposedDocument, 'signatures'>[] = [];

  let root: Root = known.root;
  if (change.root || change.targets || change.online || wanted.has('root')) {
    const { root: rootHolders, targets: targetsHolders, online } = change;
    const parts = {
      ...(rootHolders && { root: rootHolders }),
      ...(targetsHolders && { targets: targetsHolders }),
      ...(online && { online }),
    };
    root = nextRoot(known.root, parts, expiresAtMs);
    documents.push({ role: 'root', signed: root, signers: rootSigners(root, known.root) });
  }
  let targets: Targets = known.targets;
  if (change.targets || holdersByModel.size > 0 || wanted.has('targets')) {
    const next = renew(known.targets, expiresAtMs);
    targets = [...holdersByModel].reduce(
      (before, [model, holders]) => delegate(before, model, holders, expiresAtMs),
      next,
    );
    targets = { ...targets, version: next.version };
    documents.push({ role: 'targets', signed: targets, signers: targetsSigners(root) });
  }
  for (const [model, role] of known.models) {
    if (!holdersByModel.has(model) && !wanted.has(model)) continue;
    documents.push({ role: model, signed: renew(role, expiresAtMs), signers: modelSigners(targets, model) });
  }
  return proposalOf(documents);
}

export interface FirstRepository {
  readonly root: Holders;
  readonly targets: Holders;
  readonly online: Holders;
  readonly models?: ReadonlyMap<ModelName, Holders>;
  readonly expiresAtMs: number;
  readonly development?: boolean;
}

/** The first root and the first targets of a repository. */
export function draftFirst({ models, ...o }: FirstRepository): { root: Root; targets: Targets; proposal: Proposal } {
  const root = firstRoot(o);
  const empty = firstTargets(o.expiresAtMs);
  const delegated = [...(models ?? [])].reduce(
    (before, [model, holders]) => delegate(before, model, holders, o.expiresAtMs),
    empty,
  );
  const targets = { ...delegated, version: empty.version };
  return {
    root,
    targets,
    proposal: proposalOf([
      { role: 'root', signed: root, signers: rootSigners(root, undefined) },
      { role: 'targets', signed: targets, signers: targetsSigners(root) },
    ]),
  };
}

/** Who holds a role now. @throws CliError CLI_USAGE for a role that there is not */
export function presentHolders(known: KnownRepository, role: string): Holders {
  const holders = rootHoldersOf(known.root);
  if (role === 'root' || role === 'targets' || role === 'online') return holders[role];
  const delegation = delegationOf(known.targets, role);
  if (delegation) return holdersOf(delegation, known.targets.delegations?.keys ?? {});
  const models = known.targets.delegations?.roles?.map(({ name }) => name) ?? [];
  throw new CliError('CLI_USAGE', `There is no role "${role}".`, {
    remedy: `Name one of: root, targets, online${models.map((name) => `, ${name}`).join('')}.`,
  });
}

export const isDelegated = (known: KnownRepository, model: string): boolean =>
  delegationOf(known.targets, model) !== undefined;

/** @throws CliError CLI_KEYS_BELOW_THRESHOLD */
export function requireEnough(role: string, { keys, threshold }: Holders): void {
  const distinct = new Set(keys.map(({ publicKey }) => publicKey)).size;
  if (threshold >= 1 && distinct >= threshold) return;
  throw new CliError(
    'CLI_KEYS_BELOW_THRESHOLD',
    `${role} would ask for ${threshold} signatures and have ${distinct} keys.`,
    { remedy: 'Name more keys, or a lower --threshold.' },
  );
}
