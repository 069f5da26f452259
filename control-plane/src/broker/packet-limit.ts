import { Transform, type TransformCallback } from 'node:stream';
import { BrokerError } from './errors.js';

/** MQTT 3.1.1, section 2.2.3: the remaining length takes at most four bytes. */
const MAX_LENGTH_BYTES = 4;

/**
 * Passes MQTT packets on and breaks off at the first one that announces more than `maxBytes`, before its body is buffered: the parser
 * behind it would collect up to 256 MiB for whoever connects.
 */
export function packetLimit(maxBytes: number): Transform {
  /** Bytes of the present packet's body that are still to come. */
  let bodyBytes = 0;
  /** Which byte of the fixed header comes next: 0 is type and flags, then those of the length. */
  let headerByte = 0;
  let length = 0;

  const follow = (chunk: Buffer): void => {
    let offset = 0;
    while (offset < chunk.length) {
      if (bodyBytes > 0) {
        const skipped = Math.min(bodyBytes, chunk.length - offset);
        bodyBytes -= skipped;
        offset += skipped;
        continue;
      }
      const byte = chunk[offset] ?? 0;
      offset += 1;
      if (headerByte === 0) {
        headerByte = 1;
        length = 0;
        continue;
      }
      length += (byte & 0x7f) * 128 ** (headerByte - 1);
      const isLast = (byte & 0x80) === 0;
      if (length > maxBytes || (!isLast && headerByte === MAX_LENGTH_BYTES)) throw tooLarge(length, maxBytes);
      headerByte = isLast ? 0 : headerByte + 1;
      if (isLast) bodyBytes = length;
    }
  };

  return new Transform({
    transform(chunk: Buffer, _encoding, done: TransformCallback) {
      try {
        follow(chunk);
        done(null, chunk);
      } catch (error) {
        done(error as Error);
      }
    },
  });
}

const tooLarge = (length: number, maxBytes: number) =>
  new BrokerError(
    'BROKER_PACKET_TOO_LARGE',
    `An MQTT packet of ${length} bytes or more was announced; the limit is ${maxBytes}.`,
    {
      remedy: 'Reports are small; look at what sends to the broker under this credential.',
    },
  );
