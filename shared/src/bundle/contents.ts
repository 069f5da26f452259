import { Type, type Static } from 'typebox';
import { MAX_USTAR_FILE_BYTES } from '../archive/index.js';
import { DIGEST_PATTERN, NAME_PATTERN, type Digest, type ModelName, type Version } from '../ids/index.js';
import { formatProblems, parseJsonBytes, validate } from '../validation/index.js';
import { malformed } from './errors.js';

export const BUNDLE_FORMAT = 'drover.bundle/1';
/** The first entry of the archive. */
export const CONTENTS_NAME = 'bundle.json';
/** With room for some ten thousand entries. */
export const MAX_CONTENTS_BYTES = 4 * 1024 * 1024;
export const MAX_ENTRIES = 20_000;
/** Of metadata, orders and statements: what is read as a whole. */
export const MAX_DOCUMENT_BYTES = 2 * 1024 * 1024;

const strict = { additionalProperties: false } as const;
const name = NAME_PATTERN.slice(1, -1);
/** Nothing in a bundle has any other name, and none of them is ever the name of a file on a device. */
const ENTRY_NAME = `^(metadata/([1-9][0-9]{0,15}\\.)?${name}\\.json|blobs/[0-9a-f]{64}|orders/${name}\\.json|recovery\\.json)$`;

const Entry = Type.Object(
  {
    name: Type.String({ pattern: ENTRY_NAME, maxLength: 100 }),
    bytes: Type.Integer({ minimum: 0, maximum: MAX_USTAR_FILE_BYTES }),
    digest: Type.Unsafe<Digest>(Type.String({ pattern: DIGEST_PATTERN })),
  },
  strict,
);

/** What a bundle says about itself. It helps people, and finds damage of the stick; devices believe nothing of it (docs/protocol.md, section 13). */
export const BundleContents = Type.Object(
  {
    format: Type.Literal(BUNDLE_FORMAT),
    createdAt: Type.Integer({ minimum: 0, description: 'Milliseconds since 1970.' }),
    release: Type.Object(
      {
        model: Type.Unsafe<ModelName>(Type.String({ pattern: NAME_PATTERN })),
        version: Type.Unsafe<Version>(Type.String({ minLength: 5, maxLength: 100 })),
        digest: Type.Unsafe<Digest>(Type.String({ pattern: DIGEST_PATTERN })),
      },
      strict,
    ),
    /** In the order of the archive. */
    entries: Type.Array(Entry, { minItems: 1, maxItems: MAX_ENTRIES }),
  },
  strict,
);
export type BundleContents = Static<typeof BundleContents>;
export type BundleEntry = BundleContents['entries'][number];

export const metadataEntry = (file: string): string => `metadata/${file}`;
export const blobEntry = (digest: Digest): string => `blobs/${digest.slice('sha256:'.length)}`;
export const orderEntry = (device: string): string => `orders/${device}.json`;
export const RECOVERY_ENTRY = 'recovery.json';

/** @throws BundleError BUNDLE_MALFORMED */
export function parseContents(bytes: Uint8Array): BundleContents {
  const json = parseJsonBytes(bytes, (why, cause) => malformed(`of its table of contents, ${why}`, cause));
  const contents = validate(BundleContents, json, (problems) =>
    malformed(`its table of contents has another form (${formatProblems(problems)})`),
  );
  const names = new Set<string>();
  for (const { name: entry, bytes: size, digest } of contents.entries) {
    if (names.has(entry)) throw malformed(`"${entry}" comes twice`);
    names.add(entry);
    const isBlob = entry.startsWith('blobs/');
    if (isBlob && blobEntry(digest) !== entry) throw malformed(`"${entry}" has another digest than its name says`);
    if (!isBlob && size > MAX_DOCUMENT_BYTES) throw malformed(`"${entry}" has more than ${MAX_DOCUMENT_BYTES} bytes`);
  }
  return contents;
}
