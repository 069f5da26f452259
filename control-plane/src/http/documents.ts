import { Type, type TSchema } from 'typebox';
import {
  DIGEST_PATTERN,
  NAME_PATTERN,
  type DeviceId,
  type Digest,
  type ModelName,
  type Version,
} from '@drover/shared/ids';

// What several routes take or return. Query strings arrive as text and are never coerced: patterns check them, handlers convert them.

export const strict = { additionalProperties: false } as const;

export const ErrorDocument = Type.Object({
  error: Type.Object({
    code: Type.String({ description: 'Stable; explained in docs/errors.md.' }),
    what: Type.String(),
    remedy: Type.String(),
    where: Type.Optional(Type.String()),
    fault: Type.Enum(['caller', 'peer', 'environment', 'bug']),
  }),
});

export const listOf = <Item extends TSchema>(item: Item) =>
  Type.Object({ items: Type.Array(item), next: Type.Optional(Type.Union([Type.String(), Type.Number()])) });

/** What a route answers: the compiler holds handlers to it, nothing checks it again at run time. Errors look alike everywhere. */
export const responses = <Success extends Readonly<Record<number, TSchema>>>(success: Success) => ({
  ...success,
  '4xx': ErrorDocument,
  '5xx': ErrorDocument,
});

export const deviceIdText = Type.Unsafe<DeviceId>(Type.String({ pattern: NAME_PATTERN }));
export const modelNameText = Type.Unsafe<ModelName>(Type.String({ pattern: NAME_PATTERN }));
export const versionText = Type.Unsafe<Version>(Type.String({ minLength: 5, maxLength: 64 }));
export const digestText = Type.Unsafe<Digest>(Type.String({ pattern: DIGEST_PATTERN }));
/** The hexadecimal part of a digest, as it stands in URLs. */
export const digestHexText = Type.String({ pattern: '^[0-9a-f]{64}$' });
export const toDigest = (hex: string): Digest => `sha256:${hex}` as Digest;

/** A whole number of at most 15 digits, in a query string. */
export const countText = Type.String({ pattern: '^\\d{1,15}$' });
export const pageQuery = {
  after: Type.Optional(countText),
  limit: Type.Optional(Type.String({ pattern: '^[1-9]\\d{0,3}$' })),
};

const DEFAULT_PAGE = 100;
export const MAX_PAGE = 1000;

export function toPage({ after, limit }: { after?: string; limit?: string }): { after: number; limit: number } {
  return { after: Number(after ?? 0), limit: Math.min(MAX_PAGE, Number(limit ?? DEFAULT_PAGE)) };
}
