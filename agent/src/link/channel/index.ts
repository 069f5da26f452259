import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { LinkError } from '../errors.js';
import { httpOver, type HttpChannel, type HttpFetch } from './http.js';
import { openTunnel, portOf, proxyFor, type ProxySettings } from './proxy.js';
import { secure, type ClientCertificate, type ServerTrust } from './tls.js';

export interface ChannelOptions {
  readonly proxy: ProxySettings;
  /** Asked for each connection: authorities and certificate change while the agent runs. */
  readonly trust: () => ServerTrust;
  readonly client: () => ClientCertificate | undefined;
  readonly notBeforeMs: () => number;
}

/** The way out of this device: one for HTTP and MQTT, so that proxy, certificates and errors are the same for both. */
export interface Channel {
  readonly fetch: HttpFetch;
  /** Connected, through the proxy where there is one, and for `https:`, `mqtts:` and `wss:` secured. @throws LinkError */
  open(target: URL, signal: AbortSignal): Promise<Duplex>;
  /** The next connections use what `trust` and `client` say now. */
  reset(): void;
}

const CONNECT_TIMEOUT_MS = 20_000;
const SECURE = new Set(['https:', 'wss:', 'mqtts:']);
export const isSecure = (url: string): boolean => URL.canParse(url) && SECURE.has(new URL(url).protocol);

export function createChannel(options: ChannelOptions): Channel {
  let http: HttpChannel | undefined;

  const open = async (target: URL, signal: AbortSignal): Promise<Duplex> => {
    const proxy = proxyFor(target, options.proxy);
    const limit = AbortSignal.any([signal, AbortSignal.timeout(CONNECT_TIMEOUT_MS)]);
    const socket = proxy ? await openTunnel(proxy, target, limit) : await openDirectly(target, limit);
    socket.setNoDelay(true);
    if (!SECURE.has(target.protocol)) return socket;
    try {
      return await secure(socket, {
        target,
        trust: options.trust(),
        client: options.client(),
        notBeforeMs: options.notBeforeMs(),
        signal: limit,
      });
    } catch (error) {
      socket.destroy();
      throw error;
    }
  };

  return {
    open,
    reset: () => http?.reset(),
    fetch: (url, request) => (http ??= httpOver(open)).fetch(url, request),
  };
}

function openDirectly(target: URL, signal: AbortSignal): Promise<Socket> {
  const socket = connect({ host: target.hostname.replace(/^\[|\]$/g, ''), port: portOf(target) });
  return new Promise((resolve, reject) => {
    // Not the option `signal` of net.connect, which would also end a connection that stands.
    const onAbort = (): void => void socket.destroy(new Error('no answer in time'));
    const settle = (): void => {
      signal.removeEventListener('abort', onAbort);
      socket.off('error', onError);
    };
    const onError = (cause: Error): void => {
      settle();
      reject(
        new LinkError('LINK_UNREACHABLE', `${target.host} cannot be reached: ${cause.message}.`, {
          where: target.href,
          remedy: 'The agent goes on trying and keeps its reports. If it stays so, check the network and the address.',
          cause,
        }),
      );
    };
    socket.once('error', onError);
    socket.once('connect', () => {
      settle();
      resolve(socket);
    });
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}

export { readBody, type HttpAnswer, type HttpFetch } from './http.js';
export { proxyFor, withoutCredentials, type ProxySettings } from './proxy.js';
export { toTlsError, type ClientCertificate, type ServerTrust } from './tls.js';
