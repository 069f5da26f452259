import type { AddressInfo, Server } from 'node:net';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/**
 * To the process that takes this one's place, and listens on the same sockets. A request that comes on a connection of before is handed on to it: answered here, it could have the answer of a
 * release whose successor has answered elsewhere already.
 */
export class Handover {
  #address: Address | undefined;
  #clear: (address: Address) => void = () => undefined;
  /** Where the successor is found, as soon as nobody else is there. */
  readonly successor = new Promise<Address>((resolve) => (this.#clear = resolve));

  /** Requests that have come before are answered here. */
  get hasBegun(): boolean {
    return this.#address !== undefined;
  }

  /** @param listener is still open */
  begin(listener: Server): void {
    this.#address = addressOf(listener);
  }

  /** Nobody in this process accepts any more: who connects now reaches the successor. */
  complete(): void {
    if (this.#address) this.#clear(this.#address);
  }
}

function addressOf(listener: Server): Address {
  const { address, port } = listener.address() as AddressInfo;
  const own: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };
  return { host: own[address] ?? address, port };
}
