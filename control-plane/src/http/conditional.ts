import type { FastifyRequest } from 'fastify';

/**
 * Whether whoever asks has this already (RFC 9110, section 13.1.2): a list of tags, weak ones included, or `*`. A cache between asks with what it
 * was given, which may have been weakened on the way.
 */
export function hasAlready({ headers }: Pick<FastifyRequest, 'headers'>, etag: string): boolean {
  const given = headers['if-none-match'];
  if (given === undefined) return false;
  if (given.trim() === '*') return true;
  return given.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag);
}
