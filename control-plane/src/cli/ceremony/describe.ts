import {
  delegationOf,
  holdersOf,
  rootHoldersOf,
  signaturesMissing,
  type Holders,
  type Proposal,
  type ProposedDocument,
} from '@drover/shared/trust/ceremony';
import { expiresAtMs, type Root } from '@drover/shared/trust/tuf';
import { keyIdOf } from '@drover/shared/trust';

const DAY_MS = 86_400_000;
export const daysUntil = (atMs: number, nowMs: number): number => Math.floor((atMs - nowMs) / DAY_MS);

/** What a signer has to know before signing, in words: every document of the file. */
export function describeProposal(proposal: Proposal, nowMs: number): string {
  const missing = signaturesMissing(proposal);
  return proposal.documents
    .map((document) =>
      [
        headingOf(document, nowMs),
        ...contentOf(document).map((line) => `    ${line}`),
        ...missing
          .filter(({ role }) => role === document.role)
          .map(
            ({ delegator, threshold, signedBy, open, missing: count }) =>
              `    signatures by ${delegator}: ${signedBy.length} of ${threshold}${count === 0 ? ', complete' : `; open: ${open.map(short).join(', ')}`}`,
          ),
      ].join('\n'),
    )
    .join('\n');
}

const short = (keyId: string): string => `${keyId.slice(0, 12)}…`;

const headingOf = ({ role, signed }: ProposedDocument, nowMs: number): string =>
  `${role} version ${signed.version}, expires ${signed.expires} (in ${daysUntil(expiresAtMs(signed), nowMs)} days)`;

function contentOf({ role, signed }: ProposedDocument): string[] {
  if (signed._type === 'root') return rootLines(signed);
  const targets = signed;
  if (role !== 'targets') {
    return Object.entries(targets.targets).map(([path, { hashes }]) => `${path}  sha256:${hashes['sha256'] ?? 'none'}`);
  }
  const { roles = [], keys = {} } = targets.delegations ?? {};
  if (roles.length === 0) return ['no model is delegated yet'];
  return roles.map(
    ({ name }) =>
      `${name}: ${holdersLine(holdersOf(delegationOf(targets, name) ?? { keyids: [], threshold: 1 }, keys))}`,
  );
}

function rootLines(root: Root): string[] {
  const holders = rootHoldersOf(root);
  return (['root', 'targets', 'online'] as const).map((name) => `${name}: ${holdersLine(holders[name])}`);
}

const holdersLine = ({ threshold, keys }: Holders): string =>
  `${threshold} of ${keys.map(({ publicKey }) => short(keyIdOf(publicKey))).join(', ')}`;
