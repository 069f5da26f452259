import { readFileSync } from 'node:fs';
import type { FuzzTarget } from '@drover/shared/fuzzing';
import { BrokerError } from '../../src/broker/errors.js';
import { packetLimit } from '../../src/broker/packet-limit.js';
import { readCertificates, verifyChain } from '../../src/cli/model-signing/certificate-chain.js';
import { checkSignature, readPublicKey } from '../../src/cli/model-signing/ec-key.js';
import { parseBundle, parseStatement } from '../../src/cli/model-signing/index.js';
import { readBundle, vector } from '../cli/model-signing/signing-fixture.js';

const authorities = readCertificates(readFileSync(vector('root.crt')), 'root.crt');
const key = readPublicKey(readFileSync(vector('p256.pub.pem')), 'p256.pub.pem');

/** Every parser of this workspace that meets bytes from outside; those that it shares with the agent are in `shared/test/fuzzing`. */
export const targets: readonly FuzzTarget[] = [
  {
    name: 'model-signature',
    covers: ['parseBundle', 'verifyChain', 'checkSignature'],
    format: 'json',
    seeds: () => ['signer.sig', 'p256.sig'].map((name) => readFileSync(vector(name))),
    parse(bytes) {
      const bundle = parseBundle(bytes);
      if (bundle.signer.method === 'certificate') {
        checkSignature(bundle, verifyChain(bundle.signer.chain, authorities).publicKey);
        return;
      }
      checkSignature(bundle, key);
    },
  },
  {
    name: 'signer-certificate',
    covers: ['verifyChain'],
    format: 'bytes',
    seeds: () => {
      const { signer } = parseBundle(readFileSync(vector('code-signer.sig')));
      return signer.method === 'certificate' ? signer.chain.slice(0, 1) : [];
    },
    parse: (bytes) => verifyChain([Buffer.from(bytes)], authorities),
  },
  {
    name: 'model-statement',
    covers: ['parseStatement'],
    format: 'json',
    seeds: () => [Buffer.from(readBundle('p256.sig').dsseEnvelope.payload, 'base64')],
    parse: parseStatement,
  },
  {
    name: 'mqtt-packets',
    covers: ['packetLimit'],
    format: 'bytes',
    // CONNECT, then PUBLISH with a length of two bytes (MQTT 3.1.1, section 2.2.3).
    seeds: () => [Buffer.concat([Buffer.from([0x10, 2, 0, 0, 0x30, 0xc8, 0x01]), Buffer.alloc(200)])],
    parse: (bytes) =>
      new Promise((resolve, reject) => {
        const limit = packetLimit(1_000);
        limit.on('error', (error) =>
          reject(error instanceof BrokerError ? error : new Error('another error', { cause: error })),
        );
        limit.on('end', resolve);
        limit.resume();
        limit.end(bytes);
      }),
  },
];
