import { request, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { LinkError } from '../errors.js';

/** How connections leave this network. */
export interface ProxySettings {
  /** `http://[USER:PASSWORD@]HOST:PORT` */
  readonly url?: string | undefined;
  /** Host names, `.domain` suffixes, `HOST:PORT` or `*`, that are reached directly. */
  readonly exceptions: readonly string[];
}

/** What stands in logs and errors: never the password. */
export const withoutCredentials = (url: string): string => {
  const parsed = new URL(url);
  parsed.username = '';
  parsed.password = '';
  return parsed.href.replace(/\/$/, '');
};

/** The proxy for an address, by the customs of NO_PROXY: a name stands for itself and everything below it. */
export function proxyFor(target: URL, { url, exceptions }: ProxySettings): URL | undefined {
  if (url === undefined) return undefined;
  const host = target.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  const excepted = exceptions.some((exception) => {
    const [name = '', port] = exception
      .trim()
      .toLowerCase()
      .split(/:(?=\d+$)/);
    if (port !== undefined && port !== String(portOf(target))) return false;
    const bare = name.replace(/^\*?\./, '');
    return name === '*' || (bare !== '' && (host === bare || host.endsWith(`.${bare}`)));
  });
  return excepted ? undefined : new URL(url);
}

const DEFAULT_PORTS: Readonly<Record<string, number>> = {
  'http:': 80,
  'ws:': 80,
  'https:': 443,
  'wss:': 443,
  'mqtt:': 1883,
  'mqtts:': 8883,
};
export const portOf = ({ port, protocol }: URL): number =>
  port === '' ? (DEFAULT_PORTS[protocol] ?? 443) : Number(port);

/**
 * A tunnel through the proxy (RFC 9110, section 9.3.6), with Basic authentication (RFC 7617) where the address of the proxy names a user.
 *
 * @throws LinkError LINK_PROXY_UNREACHABLE, LINK_PROXY_REFUSED, LINK_UNREACHABLE when the proxy cannot reach the other end
 */
export function openTunnel(proxy: URL, target: URL, signal: AbortSignal): Promise<Socket> {
  const authority = `${target.hostname}:${portOf(target)}`;
  const where = withoutCredentials(proxy.href);
  const user = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return new Promise((resolve, reject) => {
    const asked = request({
      host: proxy.hostname.replace(/^\[|\]$/g, ''),
      port: portOf(proxy),
      method: 'CONNECT',
      path: authority,
      headers: {
        host: authority,
        ...(proxy.username === '' ? {} : { 'proxy-authorization': `Basic ${Buffer.from(user).toString('base64')}` }),
      },
      agent: false,
    });
    // Not the option `signal` of node:http, which would also end a tunnel that stands.
    const onAbort = (): void => void asked.destroy(new Error('no answer in time'));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    asked.once('close', () => signal.removeEventListener('abort', onAbort));
    const unreachable = (why: string, cause?: unknown): void =>
      reject(
        new LinkError('LINK_PROXY_UNREACHABLE', `The proxy does not answer: ${why}.`, {
          where,
          remedy: 'The agent goes on trying. If it stays so, check "proxy.url" (or HTTPS_PROXY) and the proxy.',
          cause,
        }),
      );
    const refused = (answer: IncomingMessage): void => {
      answer.socket.destroy();
      reject(toRefusal(answer, authority, where));
    };
    asked.once('connect', (answer: IncomingMessage, socket: Socket, head: Buffer) => {
      if (answer.statusCode !== 200) {
        refused(answer);
        return;
      }
      signal.removeEventListener('abort', onAbort);
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
    });
    asked.once('response', refused);
    asked.once('error', (error) => unreachable(error.message, error));
    asked.end();
  });
}

function toRefusal(
  { statusCode = 0, statusMessage = '' }: IncomingMessage,
  authority: string,
  where: string,
): LinkError {
  const said = `${statusCode}${statusMessage === '' ? '' : ` ${statusMessage.slice(0, 100)}`}`;
  // RFC 9110, section 15.6: the proxy would, but the other end does not answer it.
  if (statusCode >= 500) {
    return new LinkError('LINK_UNREACHABLE', `The proxy cannot reach ${authority} (${said}).`, {
      where,
      remedy: 'The agent goes on trying. If it stays so, check the address of the control plane as the proxy sees it.',
    });
  }
  return new LinkError('LINK_PROXY_REFUSED', `The proxy refused the way to ${authority} (${said}).`, {
    where,
    remedy:
      statusCode === 407
        ? 'Give the user and password of the proxy in "proxy.url": http://USER:PASSWORD@HOST:PORT.'
        : 'Let the proxy pass connections to this address and port; port 443 alone is enough (docs/operations.md).',
  });
}
