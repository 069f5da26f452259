import type { DeviceId } from '@drover/shared/ids';
import type { Authorities } from './authorities.js';
import { issueServiceCertificate, issueTakeoverCertificate } from './issue.js';
import { CURVE, webcrypto, x509 } from './x509.js';

/** What a connection proves itself by, and whom it believes; PEM. */
export interface ClientCredentials {
  readonly ca: readonly string[];
  readonly cert: string;
  readonly key: string;
}

export interface AccountCredentials {
  current(): ClientCredentials;
  /** Another key and certificate, by the authority that issues now. */
  refresh(): Promise<void>;
  /** In the name of a device, for a moment: a broker that gets it ends the connection of that device. */
  of(device: DeviceId): Promise<ClientCredentials>;
}

/** Issued anew every hour; so long it may lie in a broker's hands, and so long the control plane may stand still. */
const ACCOUNT_LIFE_MS = 7 * 86_400_000;
const TAKEOVER_LIFE_MS = 5 * 60_000;

/** Certificates by which the control plane itself is a client of a broker. Their keys are never written anywhere. */
export async function accountCredentials(
  authorities: Authorities,
  account: string,
  now: () => number,
): Promise<AccountCredentials> {
  const issue = async (
    make: (publicKey: x509.PublicKey) => Promise<x509.X509Certificate>,
  ): Promise<ClientCredentials> => {
    const keys = await webcrypto.subtle.generateKey(CURVE, true, ['sign', 'verify']);
    const certificate = await make(await x509.PublicKey.create(keys.publicKey));
    const pkcs8 = new Uint8Array(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
    return {
      ca: authorities.accepted().map(({ pem }) => pem),
      cert: certificate.toString('pem'),
      key: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY'),
    };
  };
  const forAccount = () =>
    issue((publicKey) =>
      issueServiceCertificate(
        authorities.issuer(),
        { name: account, publicKey },
        { fromMs: now(), untilMs: now() + ACCOUNT_LIFE_MS },
      ),
    );
  let current = await forAccount();
  return {
    current: () => current,
    async refresh() {
      current = await forAccount();
    },
    of: (deviceId) =>
      issue((publicKey) =>
        issueTakeoverCertificate(
          authorities.issuer(),
          { deviceId, publicKey },
          { fromMs: now(), untilMs: now() + TAKEOVER_LIFE_MS },
        ),
      ),
  };
}
