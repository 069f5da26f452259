import { readFileSync } from 'node:fs';
import { toSigningKey, type KeyPair } from '@drover/shared/trust';
import type { AgentConfig } from '../config/index.js';
import { createChannel, type Channel, type ProxySettings } from '../link/index.js';
import { IdentityError } from './errors.js';
import type { Identity } from './identity.js';

/** What the place where a device stands adds to its identity: the proxy, and an authority of the operator. */
export interface Network {
  readonly proxy: ProxySettings;
  /** PEM */
  readonly ca?: string | undefined;
}

/** @throws IdentityError IDENTITY_CA_UNREADABLE */
export function networkOf({ proxy, tls }: Pick<AgentConfig, 'proxy' | 'tls'>): Network {
  if (tls.ca === undefined) return { proxy };
  try {
    const ca = readFileSync(tls.ca, 'utf8');
    if (!ca.includes('-----BEGIN CERTIFICATE-----')) throw new Error('it holds no certificate in PEM');
    return { proxy, ca };
  } catch (cause) {
    throw new IdentityError(
      'IDENTITY_CA_UNREADABLE',
      `The authority's file cannot be read: ${(cause as Error).message}.`,
      {
        where: tls.ca,
        remedy: 'Name a file with certificates in PEM by "tls.ca" or --ca, or leave it out.',
        cause,
      },
    );
  }
}

export interface IdentityChannelOptions {
  readonly network: Network;
  /** Asked for each connection: a renewal replaces certificate and authorities. */
  readonly identity: () => Identity;
  readonly deviceKey: KeyPair;
  readonly notBeforeMs: () => number;
}

/** The way to the control plane for a device that has enrolled. */
export function identityChannel({ network, identity, deviceKey, notBeforeMs }: IdentityChannelOptions): Channel {
  let key: string | undefined;
  return createChannel({
    proxy: network.proxy,
    notBeforeMs,
    trust: () => ({
      authorities: identity().grant.identity.authorities,
      further: network.ca ?? identity().ca,
      system: identity().serverTrust === 'system',
    }),
    client: () => ({
      certificate: identity().grant.identity.certificate,
      key: (key ??= toSigningKey(deviceKey.seed).export({ format: 'pem', type: 'pkcs8' }).toString()),
    }),
  });
}

/** The broker's own address, and then the WebSocket on the control plane's, which passes where only its port does. */
export function brokerUrls({ controlPlaneUrl, grant: { brokerUrl, websocketPath } }: Identity): string[] {
  if (websocketPath === undefined) return [brokerUrl];
  return [...new Set([brokerUrl, `${controlPlaneUrl.replace(/^http/, 'ws')}${websocketPath}`])];
}
