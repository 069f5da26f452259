import { once } from 'node:events';
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { seededRandom, type SeededRandom } from '@drover/shared/statistics';

export interface FlakyProxyOptions {
  readonly target: { readonly host: string; readonly port: number };
  /** Delay of every chunk, in each direction. */
  readonly latencyMs?: number;
  /** Up to this much more delay per chunk, drawn evenly by the seed; chunks keep their order. */
  readonly jitterMs?: number;
  /** Each connection is reset after this many bytes from the target, as a download on a bad line is. */
  readonly cutAfterBytes?: number;
  /** Of every n connections one is reset on arrival: which one of each n, the seed decides. */
  readonly dropEveryNth?: number;
  readonly seed: number;
}

export interface FlakyProxy {
  /** Connect here, at 127.0.0.1, in place of the target. */
  readonly port: number;
  /** The outage: resets every connection, and new ones on arrival, until `heal`. */
  cut(): void;
  /** Ends the outage. The faults in the options stay. */
  heal(): void;
  close(): Promise<void>;
}

/** A TCP proxy for devices on a bad network. It knows nothing of the protocol inside, so HTTP, MQTT and TLS all pass. */
export async function openFlakyProxy(options: FlakyProxyOptions): Promise<FlakyProxy> {
  const random = seededRandom(options.seed);
  const isDropped = createDropPattern(options.dropEveryNth, random.fork('drops'));
  const jitter = random.fork('jitter');
  const delayMs = (): number => (options.latencyMs ?? 0) + (options.jitterMs ?? 0) * jitter.next();
  const open = new Set<Socket>();
  let isOut = false;

  // Half-open on both sides, so that one end may finish sending and still receive.
  const server = createServer({ allowHalfOpen: true }, (device) => {
    if (isDropped() || isOut) {
      device.on('error', ignoreReset);
      device.resetAndDestroy();
      return;
    }
    const target = connect({ ...options.target, allowHalfOpen: true });
    const cutBoth = (): void => {
      device.resetAndDestroy();
      target.resetAndDestroy();
    };
    for (const socket of [device, target]) {
      open.add(socket);
      socket.setNoDelay(true);
      socket.on('error', cutBoth);
      socket.on('close', (hadError) => {
        open.delete(socket);
        if (hadError) cutBoth();
      });
    }
    relay(device, target, delayMs, Infinity, cutBoth);
    relay(target, device, delayMs, options.cutAfterBytes ?? Infinity, cutBoth);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  const cutAll = (): void => {
    for (const socket of open) socket.resetAndDestroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    cut: () => {
      isOut = true;
      cutAll();
    },
    heal: () => {
      isOut = false;
    },
    close: async () => {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      cutAll();
      await closed;
    },
  };
}

/** A socket that this proxy resets may still report the other end's reset; there is nobody left to tell. */
function ignoreReset(): void {
  /* the connection is gone, as intended */
}

function createDropPattern(everyNth: number | undefined, random: SeededRandom): () => boolean {
  if (everyNth === undefined) return () => false;
  let inGroup = 0;
  let dropped = random.nextInt(everyNth);
  return () => {
    const isDropped = inGroup === dropped;
    inGroup++;
    if (inGroup === everyNth) {
      inGroup = 0;
      dropped = random.nextInt(everyNth);
    }
    return isDropped;
  };
}

/** Bytes that may be under way in one direction before the sender is paused. */
const MAX_PENDING_BYTES = 1 << 20;

/** Passes what `from` sends on to `to`, each chunk after its delay and in order, and after `maxBytes` calls `cut`. */
function relay(from: Socket, to: Socket, delayMs: () => number, maxBytes: number, cut: () => void): void {
  const line: { chunk: Buffer | 'end'; dueMs: number }[] = [];
  let pendingBytes = 0;
  let passedBytes = 0;
  let timer: NodeJS.Timeout | undefined;
  let isFull = false;
  let isCut = false;

  const pass = (chunk: Buffer): void => {
    pendingBytes -= chunk.length;
    const allowed = chunk.subarray(0, maxBytes - passedBytes);
    passedBytes += allowed.length;
    isCut = passedBytes >= maxBytes;
    // The cut waits until the last allowed bytes have left, or the reset would overtake them.
    if (isCut) to.write(allowed, cut);
    else isFull = !to.write(allowed);
  };
  const advance = (): void => {
    timer = undefined;
    while (!isFull && !isCut) {
      const first = line[0];
      if (first === undefined) break;
      const waitMs = first.dueMs - performance.now();
      if (waitMs > 0) {
        timer = setTimeout(advance, waitMs);
        break;
      }
      line.shift();
      if (first.chunk === 'end') to.end();
      else pass(first.chunk);
    }
    if (pendingBytes < MAX_PENDING_BYTES) from.resume();
  };
  const enter = (chunk: Buffer | 'end'): void => {
    const lastDueMs = line.at(-1)?.dueMs ?? 0;
    line.push({ chunk, dueMs: Math.max(lastDueMs, performance.now() + delayMs()) });
    if (timer === undefined) advance();
  };

  from.on('data', (chunk: Buffer) => {
    pendingBytes += chunk.length;
    if (pendingBytes >= MAX_PENDING_BYTES) from.pause();
    enter(chunk);
  });
  from.on('end', () => enter('end'));
  to.on('drain', () => {
    isFull = false;
    if (timer === undefined) advance();
  });
  to.on('close', () => clearTimeout(timer));
}
