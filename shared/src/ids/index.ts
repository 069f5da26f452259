import { createHash, randomUUID } from 'node:crypto';
import { compare as compareSemver, valid as validSemver } from 'semver';
import { CodedError, type CodeTable, type ErrorFacts } from '../coded-error/index.js';

export const ID_CODES = { ID_INVALID: { fault: 'caller', retryable: false } } as const satisfies CodeTable;

export class IdError extends CodedError<keyof typeof ID_CODES> {
  constructor(what: string, facts: ErrorFacts) {
    super(ID_CODES, 'ID_INVALID', what, facts);
  }
}

declare const brand: unique symbol;
/** A string whose form was checked by the parser of the same name. */
export type Branded<Name extends string> = string & { readonly [brand]: Name };

export type DeviceId = Branded<'DeviceId'>;
export type ModelName = Branded<'ModelName'>;
export type Version = Branded<'Version'>;
export type Digest = Branded<'Digest'>;
export type KeyId = Branded<'KeyId'>;
export type RolloutId = Branded<'RolloutId'>;
export type TrialId = Branded<'TrialId'>;
export type DeploymentId = Branded<'DeploymentId'>;
export type LabelRequestId = Branded<'LabelRequestId'>;

/** Device ids and model names go into MQTT topics, URLs and file names: no `/`, `+`, `#`, `.`-only or upper case. */
export const NAME_PATTERN = '^[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?$';
export const DIGEST_PATTERN = '^sha256:[0-9a-f]{64}$';
export const UUID_PATTERN = '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$';
const nameRegExp = new RegExp(NAME_PATTERN);
const digestRegExp = new RegExp(DIGEST_PATTERN);
const uuidRegExp = new RegExp(UUID_PATTERN);

function parse<Name extends string>(kind: string, text: string, holds: boolean, form: string): Branded<Name> {
  if (holds) return text as Branded<Name>;
  throw new IdError(`${JSON.stringify(text.slice(0, 100))} is not a ${kind}.`, { remedy: `Use ${form}.` });
}

const nameForm = '1 to 64 characters of a-z, 0-9, "-" and "_", beginning and ending with a letter or digit';

export const DeviceId = (text: string): DeviceId => parse('device id', text, nameRegExp.test(text), nameForm);
export const ModelName = (text: string): ModelName => parse('model name', text, nameRegExp.test(text), nameForm);
export const Version = (text: string): Version =>
  parse(
    'version',
    text,
    validSemver(text) === text,
    'a semantic version such as 1.2.0 (semver.org), without a leading "v" or "+build"',
  );
export const Digest = (text: string): Digest =>
  parse('digest', text, digestRegExp.test(text), '"sha256:" and 64 lower-case hexadecimal digits');
/** Precedence by semver.org, section 11: below zero when `left` is older. */
export const compareVersions = (left: Version, right: Version): number => compareSemver(left, right);
export const KeyId = (text: string): KeyId =>
  parse('key id', text, /^[0-9a-f]{64}$/.test(text), 'the 64 hexadecimal digits that `drover keys show` prints');
export const RolloutId = (text: string): RolloutId =>
  parse('rollout id', text, uuidRegExp.test(text), 'the id that `drover rollout create` printed');
export const DeploymentId = (text: string): DeploymentId =>
  parse('deployment id', text, uuidRegExp.test(text), 'a UUID in lower case');

export const newRolloutId = (): RolloutId => randomUUID() as RolloutId;
export const newTrialId = (): TrialId => randomUUID() as TrialId;
export const newDeploymentId = (): DeploymentId => randomUUID() as DeploymentId;
export const newLabelRequestId = (): LabelRequestId => randomUUID() as LabelRequestId;

/** `sha256:` + hex of the bytes: the name of everything that is content-addressed. */
export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}

/** The 64 hex digits of a digest: a safe file name. */
export const digestHex = (digest: Digest): string => digest.slice('sha256:'.length);
