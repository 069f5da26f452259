import type { Db } from '../database/index.js';
import type { Authorities } from './authorities.js';
import { SIGNATURE, x509 } from './x509.js';

/** A broker that gets no newer list takes nobody in after this: it must be fetched more often. */
const LIST_LIFE_MS = 7 * 86_400_000;

/**
 * Certificate revocation lists (RFC 5280, section 5), PEM, one for each accepted authority, for brokers that look into no database of ours.
 * They name what was revoked and has not run out.
 */
async function revocationLists(db: Db, authorities: Authorities, atMs: number): Promise<string> {
  const lists: string[] = [];
  for (const { number } of authorities.accepted()) {
    const revoked = await db
      .selectFrom('device_certificates')
      .select(['serial', 'revoked_at'])
      .where('authority', '=', number)
      .where('revoked_at', 'is not', null)
      .where('expires_at', '>', atMs)
      .execute();
    const { certificate, privateKey } = await authorities.issuerOf(number);
    const list = await x509.X509CrlGenerator.create({
      issuer: certificate.subject,
      thisUpdate: new Date(atMs),
      nextUpdate: new Date(atMs + LIST_LIFE_MS),
      entries: revoked.map(({ serial, revoked_at: revokedAt }) => ({
        serialNumber: serial,
        revocationDate: new Date(revokedAt ?? atMs),
        reason: x509.X509CrlReason.privilegeWithdrawn,
      })),
      signingKey: privateKey,
      signingAlgorithm: SIGNATURE,
    });
    // RFC 7468, section 7: the library's own label is one that OpenSSL does not take.
    lists.push(`${x509.PemConverter.encode(list.rawData, 'X509 CRL')}\n`);
  }
  return lists.join('');
}

/** What a broker beside this control plane has to know: whose clients to believe, and which of them no more. */
export const trustOf = async (db: Db, authorities: Authorities, atMs: number) => ({
  authorities: authorities
    .accepted()
    .map(({ pem }) => pem)
    .join(''),
  revocationLists: await revocationLists(db, authorities, atMs),
});
