import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { openBundle } from '../../src/bundles/index.js';
import { entriesOf, packed } from '../bundles/make-bundle.js';
import { list, publish, publishersRepository, unusedCertificate } from '../update/fixtures/releases.js';
import type { FuzzTarget } from '@drover/shared/fuzzing';
import { DeviceId } from '@drover/shared/ids';
import { RepositorySimulator } from '@drover/shared/trust/tuf/simulator';
import { createKeyPair, publicKeyOf } from '@drover/shared/trust';
import { enrol } from '../../src/identity/index.js';
import { FeedbackBody, InferBody } from '../../src/serve/protocol/infer-schema.js';
import { readBody } from '../../src/serve/protocol/request-body.js';
import { routeOf } from '../../src/serve/protocol/routes.js';
import { readTensor } from '../../src/serve/protocol/tensor-json.js';

const once = <Value>(make: () => Value): (() => Value) => {
  let made: { readonly value: Value } | undefined;
  return () => (made ??= { value: make() }).value;
};
const json = (document: unknown): Uint8Array => Buffer.from(JSON.stringify(document));
const request = (bytes: Uint8Array): IncomingMessage =>
  Object.assign(Readable.from([Buffer.from(bytes)]), { headers: {} }) as unknown as IncomingMessage;

const key = publicKeyOf(createKeyPair('fuzzing'));
const keys = { threshold: 1, keys: [key] };
const { pinnedRoot } = new RepositorySimulator({ nowMs: 1_700_000_000_000 });
const device = DeviceId('pump-7');
const grant = {
  protocol: 1,
  deviceId: device,
  credential: 'c'.repeat(43),
  identity: unusedCertificate,
  director: keys,
  brokerUrl: 'mqtt://127.0.0.1:1883',
  epoch: 1,
};

/** A bundle as it lies on a stick: opened, read whole, and asked for all that a device asks for. */
const bundleSeed = (): Uint8Array => {
  const release = publish('1.0.0', { bytes: 2_000 });
  const repository = publishersRepository();
  list(repository, release);
  return packed(release, entriesOf(repository, release));
};

/** Every parser of this workspace that meets bytes from outside; those that it shares with the control plane are in `shared/test/fuzzing`. */
export const targets: readonly FuzzTarget[] = [
  {
    name: 'inference-request',
    covers: ['readBody', 'readTensor'],
    format: 'json',
    seeds: () => [
      json({ id: 'r1', inputs: [{ name: 'x', shape: [2, 2], datatype: 'FP32', data: [1, 2, 3, 4] }] }),
      json({ inputs: [{ name: 'x', shape: [2, 1], datatype: 'INT64', data: [[1], [2]] }], outputs: [{ name: 'y' }] }),
      json({ inputs: [{ name: 'x', shape: [2], datatype: 'BOOL', data: [true, false] }] }),
    ],
    parse: async (bytes) => {
      const { inputs } = await readBody(request(bytes), InferBody, 1024 * 1024);
      return inputs.map(({ name, datatype, shape, data }) => readTensor(name, datatype, shape, data));
    },
  },
  {
    name: 'feedback-request',
    covers: ['readBody'],
    format: 'json',
    seeds: () => [json({ id: 'r1', labels: [0, 1] })],
    parse: (bytes) => readBody(request(bytes), FeedbackBody, 1024 * 1024),
  },
  {
    name: 'inference-path',
    covers: ['routeOf'],
    format: 'bytes',
    seeds: () =>
      ['/v2', '/v2/models/m/versions/1.0.0/infer', '/v2/models/m%20n/feedback?x#y'].map((path) => Buffer.from(path)),
    parse: (bytes) => routeOf(Buffer.from(bytes).toString('latin1')),
  },
  {
    name: 'bundle-file',
    covers: ['openBundle'],
    format: 'bytes',
    seeds: once(() => [bundleSeed()]),
    async parse(bytes) {
      const folder = mkdtempSync(join(tmpdir(), 'drover-fuzz-bundle-'));
      try {
        writeFileSync(join(folder, 'bundle'), bytes);
        const file = await openBundle(join(folder, 'bundle'));
        try {
          await file.verify(new AbortController().signal);
          for (const name of file.entries.keys()) await file.document(name);
        } finally {
          await file.close();
        }
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  },
  {
    name: 'enrolment-answer',
    covers: ['enrol'],
    format: 'json',
    seeds: () => [json(grant)],
    async parse(bytes) {
      const dataDir = mkdtempSync(join(tmpdir(), 'drover-fuzz-enrol-'));
      try {
        return await enrol({
          controlPlaneUrl: 'http://127.0.0.1:1',
          claimToken: 'token',
          deviceId: device,
          hardwareClass: 'generic',
          attributes: {},
          pinnedRoot,
          agentVersion: '0.1.0',
          dataDir,
          clock: { now: () => 1_700_000_000_000 },
          fetch: () => Promise.resolve(new Response(Buffer.from(bytes), { status: 201 })),
        });
      } finally {
        rmSync(dataDir, { recursive: true });
      }
    },
  },
];
