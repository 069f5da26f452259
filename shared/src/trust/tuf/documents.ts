import { Type, type Static, type TSchema } from 'typebox';

/**
 * The metadata files of TUF 1.0, section 4. Unknown attributes are allowed everywhere and stay part of what is signed (section 4.1).
 * A record is declared by `additionalProperties`, because a pattern for keys would let keys with line breaks pass unchecked.
 */
const Mapping = <Value extends TSchema>(value: Value) =>
  Type.Unsafe<Readonly<Record<string, Static<Value>>>>(Type.Object({}, { additionalProperties: value }));

const Version = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
const Length = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const Hashes = Mapping(Type.String({ maxLength: 256 }));
/** Without repetitions, which `parse.ts` refuses: the validator takes quadratic time to name all of them. */
const KeyIds = Type.Array(Type.String({ minLength: 1, maxLength: 256 }), { maxItems: 256 });

const common = {
  spec_version: Type.String({ pattern: '^1\\.[0-9]{1,6}(\\.[0-9]{1,6})?$' }),
  version: Version,
  /** Section 4.2.3: always UTC, whole seconds. `parse.ts` refuses days that do not exist. */
  expires: Type.String({ pattern: '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$' }),
};

export const TufKey = Type.Object({
  keytype: Type.String({ maxLength: 64 }),
  scheme: Type.String({ maxLength: 64 }),
  keyval: Type.Object({ public: Type.String({ minLength: 1, maxLength: 4096 }) }),
});
export type TufKey = Static<typeof TufKey>;

export const RoleKeys = Type.Object({
  keyids: KeyIds,
  threshold: Type.Integer({ minimum: 1, maximum: 1024 }),
});
export type RoleKeys = Static<typeof RoleKeys>;

export const Root = Type.Object({
  _type: Type.Literal('root'),
  ...common,
  consistent_snapshot: Type.Boolean(),
  keys: Mapping(TufKey),
  roles: Type.Object({ root: RoleKeys, timestamp: RoleKeys, snapshot: RoleKeys, targets: RoleKeys }),
});
export type Root = Static<typeof Root>;

/** What timestamp says about snapshot, and snapshot about every targets role. */
export const MetaFile = Type.Object({
  version: Version,
  length: Type.Optional(Length),
  hashes: Type.Optional(Hashes),
});
export type MetaFile = Static<typeof MetaFile>;

export const Timestamp = Type.Object({
  _type: Type.Literal('timestamp'),
  ...common,
  meta: Type.Object({ 'snapshot.json': MetaFile }),
});
export type Timestamp = Static<typeof Timestamp>;

export const Snapshot = Type.Object({ _type: Type.Literal('snapshot'), ...common, meta: Mapping(MetaFile) });
export type Snapshot = Static<typeof Snapshot>;

export const TargetEntry = Type.Object({
  length: Length,
  hashes: Type.Unsafe<Readonly<Record<string, string>>>(Type.Object({}, { ...Hashes, minProperties: 1 })),
  custom: Type.Optional(Mapping(Type.Unknown())),
});
export type TargetEntry = Static<typeof TargetEntry>;

export const DelegatedRole = Type.Object({
  name: Type.String({ minLength: 1, maxLength: 128 }),
  ...RoleKeys.properties,
  terminating: Type.Boolean(),
  paths: Type.Optional(Type.Array(Type.String({ maxLength: 1024 }), { maxItems: 4096 })),
  path_hash_prefixes: Type.Optional(Type.Array(Type.String({ pattern: '^[0-9a-f]{1,64}$' }), { maxItems: 65_536 })),
});
export type DelegatedRole = Static<typeof DelegatedRole>;

export const Delegations = Type.Object({
  keys: Mapping(TufKey),
  roles: Type.Optional(Type.Array(DelegatedRole, { maxItems: 65_536 })),
});
export type Delegations = Static<typeof Delegations>;

/** Of the top-level `targets` role and of every delegated role alike (section 4.5). */
export const Targets = Type.Object({
  _type: Type.Literal('targets'),
  ...common,
  targets: Mapping(TargetEntry),
  delegations: Type.Optional(Delegations),
});
export type Targets = Static<typeof Targets>;

export const MetadataSignature = Type.Object({
  keyid: Type.String({ minLength: 1, maxLength: 256 }),
  /** Hexadecimal. Empty where a holder of the key has not signed yet. */
  sig: Type.String({ maxLength: 4096 }),
});
export type MetadataSignature = Static<typeof MetadataSignature>;

export const SIGNED_SCHEMAS = { root: Root, timestamp: Timestamp, snapshot: Snapshot, targets: Targets } as const;
export type MetadataKind = keyof typeof SIGNED_SCHEMAS;
export interface SignedByKind {
  readonly root: Root;
  readonly timestamp: Timestamp;
  readonly snapshot: Snapshot;
  readonly targets: Targets;
}
export const TOP_LEVEL_ROLES: readonly MetadataKind[] = ['root', 'timestamp', 'snapshot', 'targets'];

/** A metadata file that was read, but not yet verified. */
export interface MetadataFile<Kind extends MetadataKind = MetadataKind> {
  readonly signed: SignedByKind[Kind];
  readonly signatures: readonly MetadataSignature[];
  /** As received: what is stored and hashed. */
  readonly bytes: Uint8Array;
}

/** An entry of a record from outside: never something inherited, whatever the key. */
export const entryOf = <Value>(record: Readonly<Record<string, Value>>, key: string): Value | undefined =>
  Object.hasOwn(record, key) ? record[key] : undefined;
