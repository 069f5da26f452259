import { Type } from 'typebox';
import { formatProblems, validate } from '../../validation/index.js';
import type { Json } from './canonical.js';
import {
  MetadataSignature,
  SIGNED_SCHEMAS,
  TOP_LEVEL_ROLES,
  type MetadataFile,
  type MetadataKind,
  type RoleKeys,
  type SignedByKind,
  type Targets,
  type TufKey,
} from './documents.js';
import { TufError } from './errors.js';
import { tufKeyId } from './keys.js';
import { metadataFileName } from './names.js';

/** Deeper nesting than any metadata needs; canonical JSON is written recursively. */
const MAX_DEPTH = 32;

const Frame = Type.Object({
  signed: Type.Object({ _type: Type.String({ maxLength: 64 }) }),
  signatures: Type.Array(MetadataSignature, { maxItems: 256 }),
});

/**
 * Reads a metadata file (TUF 1.0, section 4) without trusting it: bounded in size, depth and form. What it returns is still unverified.
 *
 * @throws TufError TUF_TOO_LARGE, TUF_MALFORMED
 */
export function parseMetadata<Kind extends MetadataKind>(
  kind: Kind,
  bytes: Uint8Array,
  { where, maxBytes }: { readonly where: string; readonly maxBytes: number },
): MetadataFile<Kind> {
  if (bytes.length > maxBytes) {
    throw new TufError('TUF_TOO_LARGE', `${where} has ${bytes.length} bytes; at most ${maxBytes} are read.`, {
      section: '5.3.3',
      where,
    });
  }
  const refuse = (why: string, section: string, cause?: unknown) =>
    new TufError('TUF_MALFORMED', `${where} is no ${kind} metadata: ${why}.`, { section, where, cause });

  const json = parseBounded(bytes, (why, cause) => refuse(why, '4.1', cause));
  const { signed, signatures } = validate(Frame, json, (problems) => refuse(formatProblems(problems), '4.2.1'));
  if (signed._type !== kind) throw refuse(`it says that it is ${JSON.stringify(signed._type)}`, '4.2.1');
  // Section 4.2.1: a key id is unique in the list of signatures.
  if (new Set(signatures.map(({ keyid }) => keyid)).size !== signatures.length)
    throw refuse('two signatures name the same key', '4.2.1');

  const schema = SIGNED_SCHEMAS[kind];
  const checked = validate(schema, signed, (problems) => refuse(formatProblems(problems), '4')) as SignedByKind[Kind];
  if (Number.isNaN(expiresAtMs(checked))) throw refuse(`${checked.expires} is no time`, '4.2.3');
  if (checked._type === 'root') {
    checkKeyIds(checked.keys, (why) => refuse(why, '4.3'));
    const { roles } = checked;
    // By name: what else stands among the roles was not validated.
    checkRoleKeys(
      TOP_LEVEL_ROLES.map((role) => [role, roles[role]] as const),
      (why) => refuse(why, '4.3'),
    );
  }
  if (checked._type === 'targets') checkDelegations(checked, (why) => refuse(why, '4.5'));
  return { signed: checked, signatures, bytes };
}

/** The time of expiry in milliseconds since 1970, NaN for a day that does not exist: `Date` would take February 31 for March 3. */
export function expiresAtMs({ expires }: { readonly expires: string }): number {
  const date = new Date(expires);
  return Number.isNaN(date.getTime()) || date.toISOString() !== expires.replace('Z', '.000Z') ? NaN : date.getTime();
}

/** Sections 4.3 and 4.5: a key that is listed twice would look like two towards the threshold. */
function checkRoleKeys(roles: readonly (readonly [string, RoleKeys])[], refuse: (why: string) => TufError): void {
  for (const [name, { keyids }] of roles) {
    if (new Set(keyids).size !== keyids.length) throw refuse(`role ${JSON.stringify(name)} lists a key twice`);
  }
}

/** Section 4.3: "Clients MUST calculate each KEYID to verify this is correct for the associated key." */
function checkKeyIds(keys: Readonly<Record<string, TufKey>>, refuse: (why: string) => TufError): void {
  for (const [keyId, key] of Object.entries(keys)) {
    if (tufKeyId(key) !== keyId) throw refuse(`key ${keyId.slice(0, 12)}… does not have the id that its content gives`);
  }
}

function checkDelegations({ delegations }: Targets, refuse: (why: string) => TufError): void {
  if (delegations === undefined) return;
  checkKeyIds(delegations.keys, refuse);
  checkRoleKeys(
    (delegations.roles ?? []).map((role) => [role.name, role] as const),
    refuse,
  );
  const names = new Set<string>();
  for (const { name, paths, path_hash_prefixes: prefixes } of delegations.roles ?? []) {
    if (names.has(name)) throw refuse(`role ${JSON.stringify(name)} is delegated to twice`);
    if (TOP_LEVEL_ROLES.some((role) => role === name)) throw refuse(`it delegates to the top-level role ${name}`);
    if (metadataFileName(name) === undefined) throw refuse(`${JSON.stringify(name)} can be no file name`);
    if (paths !== undefined && prefixes !== undefined)
      throw refuse(`role ${JSON.stringify(name)} has paths and path_hash_prefixes`);
    names.add(name);
  }
}

function parseBounded(bytes: Uint8Array, refuse: (why: string, cause?: unknown) => TufError): Json {
  if (depthOf(bytes) > MAX_DEPTH) throw refuse(`it is nested more than ${MAX_DEPTH} deep`);
  let json: Json;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)) as Json;
  } catch (cause) {
    throw refuse('it is not JSON in UTF-8', cause);
  }
  if (!hasOnlyIntegers(json)) throw refuse('it has a number that is no integer, so it has no canonical form');
  return json;
}

/** Counts brackets outside strings, before anything recursive sees the text. */
function depthOf(bytes: Uint8Array): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (inString) {
      if (byte === 0x5c) at++;
      else if (byte === 0x22) inString = false;
    } else if (byte === 0x22) inString = true;
    else if (byte === 0x7b || byte === 0x5b) deepest = Math.max(deepest, ++depth);
    else if (byte === 0x7d || byte === 0x5d) depth--;
  }
  return deepest;
}

function hasOnlyIntegers(value: Json): boolean {
  if (typeof value === 'number') return Number.isSafeInteger(value);
  if (typeof value !== 'object' || value === null) return true;
  return Object.values(value).every(hasOnlyIntegers);
}
