import { CodedError } from '@drover/shared/coded-error';
import type { KeyPair } from '@drover/shared/trust';
import type { HttpFetch } from '../link/index.js';
import type { Clock } from '../host/index.js';
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
  /** Renews without asking first, at most once a minute: the certificate was refused, so it is of no use to ask with it. */
  refused(): Promise<void>;
}

const SUSPECT_PAUSE_MS = 10 * 60_000;
const REFUSED_PAUSE_MS = 60_000;

export function keepCertificate(options: CertificateKeeperOptions): CertificateKeeper {
  const { clock, log, fetch } = options;
  let { identity } = options;
  let underWay: Promise<void> | undefined;
  const isUsed = [identity.controlPlaneUrl, identity.grant.brokerUrl].some(isSecure);

  async function keep(wasRefused: boolean): Promise<void> {
    if (!wasRefused && !(await isRenewalDue({ identity, fetch }))) return;
    const { dataDir, deviceKey, agentVersion } = options;
    identity = await renewCertificate({ dataDir, identity, deviceKey, agentVersion, nowMs: clock.now(), fetch });
    log.info('certificate renewed');
    options.onRenewed();
  }
  /** What fails is tried again at the next occasion; that a device was revoked is what somebody at it has to read. */
  function act(wasRefused: boolean): Promise<void> {
    if (!isUsed) return Promise.resolve();
    underWay ??= keep(wasRefused)
      .catch((error: unknown) => {
        if (!(error instanceof CodedError)) throw error;
        log.warn('certificate not renewed', error.toJSON());
      })
      .finally(() => (underWay = undefined));
    return underWay;
  }
  /** At most once in a while, for occasions that come with each attempt to connect. */
  function seldom(pauseMs: number, wasRefused: boolean): () => Promise<void> {
    let lastAtMs = -Infinity;
    return () => {
      if (clock.monotonic() - lastAtMs < pauseMs) return Promise.resolve();
      lastAtMs = clock.monotonic();
      return act(wasRefused);
    };
  }
  return {
    identity: () => identity,
    check: () => act(false),
    suspect: seldom(SUSPECT_PAUSE_MS, false),
    refused: seldom(REFUSED_PAUSE_MS, true),
  };
}
