import { connect, type TLSSocket } from 'node:tls';
import type { ClientCredentials } from '../certificate-authority/index.js';
import { BrokerError } from './errors.js';

const DEFAULT_PORT = 8883;

/** A connection to a broker beside the control plane (`mqtts://NAME[:PORT]`): both ends show a certificate of our authority. */
export function secureSocket(url: string, { ca, cert, key }: ClientCredentials): TLSSocket {
  const { hostname, port } = new URL(url);
  return connect({
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? DEFAULT_PORT : Number(port),
    servername: /^[\d.]+$|:/.test(hostname) ? '' : hostname,
    ca: [...ca],
    cert,
    key,
    minVersion: 'TLSv1.2',
  });
}

export const unreachable = (url: string, cause: Error): BrokerError =>
  new BrokerError('BROKER_UNREACHABLE', `The broker cannot be used: ${cause.message}.`, {
    where: url,
    remedy:
      'The control plane goes on trying. Check that the broker runs, that its certificate is by `drover ca server`, and that it has our authority and a revocation list that holds (`brokerTrust`).',
    cause,
  });
