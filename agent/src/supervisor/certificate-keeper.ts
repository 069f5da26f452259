import { CodedError } from '@drover/shared/coded-error';
import type { KeyPair } from '@drover/shared/trust';
import { backoffMs, type Clock } from '../host/index.js';
import type { HttpFetch } from '../link/index.js';
import { REASON_REFUSED, renewalReason, renewCertificate, type Identity } from '../identity/index.js';
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
/** Between two renewals for one reason, of which the first did not help: one that was revoked asks for ever, and its control plane answers thousands. */
const RENEWAL_PAUSE = { firstMs: 60_000, maxMs: 3_600_000 };

export function keepCertificate(options: CertificateKeeperOptions): CertificateKeeper {
  const { clock, log, fetch } = options;
  let { identity } = options;
  let underWay: Promise<void> | undefined;
  /** After it. */
  let next: Promise<void> | undefined;
  const isUsed = [identity.controlPlaneUrl, identity.grant.brokerUrl].some(isSecure);

  /** Why it was renewed since it was last found good, how often, and when it may be again. */
  let lastReason: string | undefined;
  let renewals = 0;
  let notBeforeMs = -Infinity;

  async function keep(wasRefused: boolean): Promise<void> {
    const reason = wasRefused ? REASON_REFUSED : await renewalReason({ identity, fetch });
    // The authorities may change again before a device has asked whether its new certificate is good.
    if (reason !== lastReason) [lastReason, renewals, notBeforeMs] = [reason, 0, -Infinity];
    if (reason === undefined || clock.monotonic() < notBeforeMs) return;
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
    // What is under way may have been answered before whatever happened now.
    if (underWay) {
      const before = underWay;
      next ??= before.then(() => {
        next = undefined;
        return act(wasRefused);
      });
      return next;
    }
    underWay = keep(wasRefused)
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
