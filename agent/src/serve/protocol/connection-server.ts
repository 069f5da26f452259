import type { Socket } from 'node:net';

/** A server that is given its connections. */
export interface ConnectionServer {
  take(socket: Socket): void;
  /** Lets what is under way finish (at most 5 s), then cuts. */
  close(): Promise<void>;
  /** Ends each connection with its next answer, or when it was silent for as long as it may be; cuts nothing that is under way. */
  retire(): Promise<void>;
}
