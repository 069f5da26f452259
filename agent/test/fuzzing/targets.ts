import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { MessageReader } from '../../src/attach/observe/message-reader.js';
import { readMessage } from '../../src/attach/observe/messages.js';
import { readObservation } from '../../src/attach/observe/observation.js';
import { openBundle } from '../../src/bundles/index.js';
import { entriesOf, packed } from '../bundles/make-bundle.js';
import { list, publish, publishersRepository, unusedCertificate } from '../update/fixtures/releases.js';
import type { FuzzTarget } from '@drover/shared/fuzzing';
import { DeviceId } from '@drover/shared/ids';
import { RepositorySimulator } from '@drover/shared/trust/tuf/simulator';
import { createKeyPair, publicKeyOf } from '@drover/shared/trust';
import { ServeError } from '../../src/serve/errors.js';
import { enrol } from '../../src/identity/index.js';
import { FeedbackBody } from '../../src/serve/protocol/rest/bodies.js';
import { readInferRequest } from '../../src/serve/protocol/rest/infer-request.js';
import { readBody, readJson } from '../../src/serve/protocol/rest/request-body.js';
import { routeOf } from '../../src/serve/protocol/rest/routes.js';
import type { InstalledModel } from '../../src/update/ports.js';
import { binaryMessage } from '../attach/binary-message.js';

const once = <Value>(make: () => Value): (() => Value) => {
  let made: { readonly value: Value } | undefined;
  return () => (made ??= { value: make() }).value;
};
const json = (document: unknown): Uint8Array => Buffer.from(JSON.stringify(document));
const request = (bytes: Uint8Array, headers: Readonly<Record<string, string>> = {}): IncomingMessage =>
  Object.assign(Readable.from([Buffer.from(bytes)]), { headers }) as unknown as IncomingMessage;

const MAX_BODY_BYTES = 1024 * 1024;
/** What is written durably waits for the disk, on which thousands of cases should not depend. */
const SCRATCH = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
const route = { kind: 'infer', model: 'm' } as const;
const noModel = (): never => {
  throw new ServeError('MODEL_NOT_SERVED', 'There is no model here.', { remedy: 'None.' });
};

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

/** What an observation is read by. */
const observed = {
  model: 'm',
  release: { version: '1.0.0', digest: 'sha256:0' },
  manifest: { task: { type: 'classification', scores: 'y', labels: ['a', 'b'] } },
  variant: {
    signature: {
      inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2] }],
      outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 2] }],
    },
  },
} as unknown as InstalledModel;
const tensor = (name: string, data?: readonly number[]) => ({ name, datatype: 'FP32', shape: [1, 2], data });
const inference = (facts: object) => ({ type: 'inference', latencyUs: 1, ...facts });

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
    covers: ['readBody', 'readInferRequest', 'parseHead', 'readTensor'],
    format: 'json',
    seeds: () => [
      json({ id: 'r1', inputs: [{ name: 'x', shape: [2, 2], datatype: 'FP32', data: [1, 2, 3, 4] }] }),
      json({ inputs: [{ name: 'x', shape: [2, 1], datatype: 'INT64', data: [[1], [2]] }], outputs: [{ name: 'y' }] }),
      json({ inputs: [{ name: 'x', shape: [2], datatype: 'BOOL', data: [true, false] }] }),
    ],
    parse: async (bytes) => readInferRequest(route, await readBody(request(bytes), MAX_BODY_BYTES), noModel),
  },
  {
    // The first two bytes stand for Inference-Header-Content-Length.
    name: 'binary-inference-request',
    covers: ['readBody', 'readInferRequest', 'parseHead', 'fromBytes'],
    format: 'bytes',
    seeds: () => {
      const seed = (inputs: readonly object[], tail: Uint8Array): Uint8Array => {
        const head = json({ inputs });
        return Buffer.concat([Buffer.from([head.length & 255, head.length >> 8]), head, tail]);
      };
      const part = (datatype: string, shape: readonly number[], bytes: number) => ({
        name: datatype,
        datatype,
        shape,
        parameters: { binary_data_size: bytes },
      });
      return [
        seed([part('FP32', [2, 1], 8)], Buffer.alloc(8, 1)),
        seed([part('BYTES', [2], 10)], Buffer.from([1, 0, 0, 0, 97, 1, 0, 0, 0, 98])),
        seed([part('BOOL', [1], 1), part('INT64', [1], 8)], Buffer.alloc(9, 1)),
      ];
    },
    parse: async (bytes) => {
      const length = String((bytes[0] ?? 0) + 256 * (bytes[1] ?? 0));
      const headers = {
        'inference-header-content-length': length,
        'content-length': String(Math.max(0, bytes.length - 2)),
      };
      return readInferRequest(route, await readBody(request(bytes.subarray(2), headers), MAX_BODY_BYTES), noModel);
    },
  },
  {
    name: 'feedback-request',
    covers: ['readJson', 'parseHead'],
    format: 'json',
    seeds: () => [json({ id: 'r1', labels: [0, 'gas', null] })],
    parse: (bytes) => readJson(request(bytes), FeedbackBody, MAX_BODY_BYTES),
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
    name: 'observe-socket',
    covers: ['MessageReader', 'readMessage', 'readObservation'],
    format: 'bytes',
    seeds: () => {
      const lines = [
        { type: 'hello', protocol: 1, model: 'm', loaded: `sha256:${'0'.repeat(64)}` },
        inference({ id: 'a', features: [[1, 2]], classes: [1], confidences: [0.5] }),
        inference({ inputs: [tensor('x', [1, 2])], outputs: [tensor('y', [0.5, 0.5])], failed: false }),
        { type: 'label', id: 'a', labels: [1, null, 'a'] },
      ];
      const frame = JSON.stringify(inference({ inputs: [tensor('x')], outputs: [tensor('y')] }));
      return [
        Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join('')),
        Buffer.concat([binaryMessage(frame, Buffer.alloc(16, 1)), Buffer.from('\n{"type":"bye"}\n')]),
      ];
    },
    parse(bytes) {
      for (const { json: text, payload } of new MessageReader().push(bytes)) {
        const message = readMessage(text);
        if (message.type === 'inference') readObservation(message, payload, observed, 1);
      }
    },
  },
  {
    name: 'bundle-file',
    covers: ['openBundle'],
    format: 'bytes',
    seeds: once(() => [bundleSeed()]),
    async parse(bytes) {
      const folder = mkdtempSync(join(SCRATCH, 'drover-fuzz-bundle-'));
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
      const dataDir = mkdtempSync(join(SCRATCH, 'drover-fuzz-enrol-'));
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
