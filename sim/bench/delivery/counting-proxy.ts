import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A TCP relay that counts what crosses the link of the device, in both directions, and can cut it. */
export interface CountingProxy {
  readonly url: string;
  /** Since the last `reset`. */
  bytes(): number;
  reset(): void;
  /** Cuts the connection after these totals of received bytes (ascending, since the last `reset`). */
  cutAt(totals: readonly number[]): void;
  cuts(): number;
  close(): Promise<void>;
}

/** A cut ends the stream after the last byte that crossed: as on a link that fails, what has arrived stays with the device. */
export async function countingProxy(target: string): Promise<CountingProxy> {
  const { hostname, port } = new URL(target);
  let total = 0;
  let received = 0;
  let cuts = 0;
  let pending: number[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((device) => {
    const upstream = connect(Number(port), hostname);
    for (const socket of [device, upstream]) {
      sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        sockets.delete(socket);
        device.end();
        upstream.destroy();
      });
    }
    device.on('data', (chunk) => {
      total += chunk.length;
      upstream.write(chunk);
    });
    upstream.on('data', (chunk) => {
      const next = pending[0];
      const isCut = next !== undefined && received + chunk.length >= next;
      const part = isCut ? chunk.subarray(0, Math.max(0, next - received)) : chunk;
      total += part.length;
      received += part.length;
      if (!device.write(part)) {
        upstream.pause();
        device.once('drain', () => upstream.resume());
      }
      if (!isCut) return;
      pending.shift();
      cuts += 1;
      device.end();
      upstream.destroy();
    });
    upstream.on('end', () => device.end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    bytes: () => total,
    reset() {
      total = 0;
      received = 0;
      cuts = 0;
      pending = [];
    },
    cutAt: (totals) => void (pending = [...totals]),
    cuts: () => cuts,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}
