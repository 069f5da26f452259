import { CodedError } from '@drover/shared/coded-error';
import type { KeyPair } from '@drover/shared/trust';
import { backoffMs, type Clock } from '../host/index.js';
import type { HttpFetch } from '../link/index.js';
import { isRenewalDue, renewCertificate, type Identity } from '../identity/index.js';
import { isSecure } from '../link/index.js';
import type { Log } from './log.js';

export interface CertificateKeeperOptions {
  readonly dataDir: string;
  readonly identity: Identity;
  readonly deviceKey: KeyPair;
  readonly agentVersion: string;
  readonly clock: Pick<Clock, 'now' | 'monotonic'>;
  readonly fetch: HttpFetch;
  readonly log: Log;
  /** A new certificate is stored: connections should be made anew with it. */
  readonly onRenewed: () => void;
}

/** Keeps the certificate of this device fit for use. */
export interface CertificateKeeper {
  /** The identity with the certificate in force. */
  identity(): Identity;
  /** Asks the control plane, and renews where it says so: at each connection, and now and then. */
  check(): Promise<void>;
  /** The same at most every ten minutes: the link is down, and nobody knows why. */
  suspect(): Promise<void>;
  /** Renews without asking first: the certificate was refused, so it is of no use to ask with it. */
  refused(): Promise<void>;
}

const SUSPECT_PAUSE_MS = 10 * 60_000;
/** Between two renewals that did not help: one that was revoked asks for ever, and its control plane answers thousands. */
const RENEWAL_PAUSE = { firstMs: 60_000, maxMs: 3_600_000 };

export function keepCertificate(options: CertificateKeeperOptions): CertificateKeeper {
  const { clock, log, fetch } = options;
  let { identity } = options;
  let underWay: Promise<void> | undefined;
  const isUsed = [identity.controlPlaneUrl, identity.grant.brokerUrl].some(isSecure);

  /** Renewals since the certificate was last found good, and when the next one may be. */
  let renewals = 0;
  let notBeforeMs = -Infinity;

  async function keep(wasRefused: boolean): Promise<void> {
    if (!wasRefused && !(await isRenewalDue({ identity, fetch }))) {
      [renewals, notBeforeMs] = [0, -Infinity];
      return;
    }
    if (clock.monotonic() < notBeforeMs) return;
    notBeforeMs = clock.monotonic() + backoffMs(RENEWAL_PAUSE, renewals);
    renewals += 1;
    const { dataDir, deviceKey, agentVersion } = options;
    identity = await renewCertificate({ dataDir, identity, deviceKey, agentVersion, nowMs: clock.now(), fetch });
    log.info('certificate renewed');
    options.onRenewed();
  }
  /** What fails is tried again at the next occasion; that a device was revoked is what somebody at it has to read. */
  function act(wasRefused: boolean): Promise<void> {
    // Without TLS it opens no connection, but a control plane that has forgotten this device knows it again by it.
    if (!isUsed && !wasRefused) return Promise.resolve();
    underWay ??= keep(wasRefused)
      .catch((error: unknown) => {
        if (!(error instanceof CodedError)) throw error;
        log.warn('certificate not renewed', error.toJSON());
      })
      .finally(() => (underWay = undefined));
    return underWay;
  }
  let suspectedAtMs = -Infinity;
  return {
    identity: () => identity,
    check: () => act(false),
    suspect() {
      if (clock.monotonic() - suspectedAtMs < SUSPECT_PAUSE_MS) return Promise.resolve();
      suspectedAtMs = clock.monotonic();
      return act(false);
    },
    refused: () => act(true),
  };
}
