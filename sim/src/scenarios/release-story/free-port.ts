import { createServer } from 'node:net';

/** The wanted port of the loopback interface, or 0 (the system chooses) where somebody has it already. */
export function freePortOr(wanted: number): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(0));
    server.listen(wanted, '127.0.0.1', () => server.close(() => resolve(wanted)));
  });
}
