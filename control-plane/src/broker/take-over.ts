import { MqttClient } from 'mqtt';
import type { DeviceId } from '@drover/shared/ids';
import type { ClientCredentials } from '../certificate-authority/index.js';
import { secureSocket, unreachable } from './secure-socket.js';

export interface TakeOverOptions {
  readonly url: string;
  readonly device: DeviceId;
  /** A certificate in the name of the device. */
  readonly credentials: ClientCredentials;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * Ends the connection of a device by one of our own in its name (MQTT 3.1.1, section 3.1.4: a second connection under one client id ends the first).
 * Once `signal` is aborted it resolves without having done so.
 *
 * @throws BrokerError BROKER_UNREACHABLE: the device may still be connected
 */
export function takeOver({ url, device, credentials, timeoutMs, signal }: TakeOverOptions): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  const intruder = new MqttClient(() => secureSocket(url, credentials), {
    protocolVersion: 4,
    clientId: device,
    username: device,
    clean: true,
    connectTimeout: timeoutMs,
    reconnectPeriod: 0,
  });
  const leave = (): void => void intruder.end(true);
  signal.addEventListener('abort', leave);
  const settled = new Promise<void>((resolve, reject) => {
    intruder.once('connect', () => resolve());
    // Not once: a connection can fail twice, and the second time nobody else would hear it.
    intruder.on('error', (cause) => reject(unreachable(url, cause)));
    intruder.once('close', () =>
      signal.aborted ? resolve() : reject(unreachable(url, new Error('it closed the connection'))),
    );
  });
  return settled.finally(() => {
    signal.removeEventListener('abort', leave);
    intruder.end(true);
  });
}
