import {
  ManifestError,
  decodeGoldenVectors,
  decodeLabelledSamples,
  encodeGoldenVectors,
  encodeLabelledSamples,
  isOfKind,
  parseManifest,
  parseRelease,
  valuesFor,
} from '../../src/manifest/index.js';
import { parseUstarHeader, USTAR_BLOCK_BYTES } from '../../src/archive/index.js';
import { encodeContents, parseContents, readLayout } from '../../src/bundle/index.js';
import { assembleAgentRelease, assembleParametersRelease } from '../../src/release/index.js';
import { Digest, DeploymentId, DeviceId, digestOf, KeyId, ModelName, RolloutId, Version } from '../../src/ids/index.js';
import {
  checkOnnx,
  decodeOnnx,
  describeModel,
  graphOf,
  scanOnnx,
  scanOnnxFile,
  tensorValues,
} from '../../src/onnx/index.js';
import { parseProfile } from '../../src/profile/index.js';
import { deviceOfTopic, ordersTopic, reportsTopic } from '../../src/protocol/index.js';
import { parseDriftThresholds } from '../../src/statistics/index.js';
import { keyPairFromSeed, parseKeyPair, parseKeySet, publicKeyOf } from '../../src/trust/index.js';
import { parseJsonBytes } from '../../src/validation/index.js';
import type { FuzzTarget } from '../../src/fuzzing/index.js';
import { bundle, contentsOf, FILES, inMemory } from '../bundle/bundles.js';
import { manifestDocument, onnxDocuments, profileDocument, thresholdsDocument } from './documents.js';
import { deliveryDocuments } from './delivery-documents.js';
import { repositoryMetadata } from './repository-metadata.js';
import { signedDocuments } from './signed-documents.js';

const once = <Value>(make: () => Value): (() => Value) => {
  let made: { readonly value: Value } | undefined;
  return () => (made ??= { value: make() }).value;
};
const json = (document: unknown): Uint8Array => Buffer.from(JSON.stringify(document));
/** The JSON of a file or message, for parsers that take it parsed: their callers refuse what is no JSON. */
const parsed = (bytes: Uint8Array): unknown =>
  parseJsonBytes(bytes, (why, cause) => new ManifestError('MANIFEST_INVALID', why, { remedy: 'none', cause }));
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');

const golden = () =>
  encodeGoldenVectors([
    {
      inputs: [{ name: 'x', datatype: 'FP32', shape: [1, 2], bytes: new Uint8Array(8) }],
      outputs: [{ name: 'y', datatype: 'INT64', shape: [1], bytes: new Uint8Array(8) }],
    },
  ]);
const samples = () =>
  encodeLabelledSamples({ features: new Float32Array(6), labels: Int32Array.of(0, 1), count: 2, width: 3 });
const names = [
  'pump-7',
  'gas-classifier',
  '1.2.0',
  '1.2.0-rc.1',
  digestOf(Buffer.from('x')),
  'a'.repeat(64),
  '6ba7b810-9dad-41d1-80b4-00c04fd430c8',
];

const agentRelease = () =>
  assembleAgentRelease({
    version: Version('1.1.0'),
    createdAt: new Date(0),
    bundles: [
      { platform: { os: 'linux', arch: 'arm64', nodeAbi: '115' }, bytes: Buffer.from('bundle'), unpackedBytes: 9 },
    ],
  });
const parametersRelease = () =>
  assembleParametersRelease(
    {
      model: ModelName('gas-classifier'),
      compatible: '>=1.2.0 <2.0.0 || 3.x',
      parameters: {
        threshold: { type: 'number', minimum: 0, maximum: 1, default: 0.5 },
        'label.ethanol': { type: 'enum', values: ['accept', 'reject'], default: 'accept' },
        alarm: { type: 'boolean', default: true },
      },
      sites: { hall: { threshold: 0.75, 'label.ethanol': 'reject' } },
    },
    { version: Version('1.1.0'), createdAt: new Date(0) },
  );
/** Of one regular file, with its checksum (POSIX.1-1988, "ustar Interchange Format"). */
function archiveHeader(): Uint8Array {
  const header = Buffer.alloc(USTAR_BLOCK_BYTES);
  header.write('drover-agent-1.1.0/BUNDLE', 0, 'latin1');
  header.write('00000000011', 124, 'latin1');
  header.write('        ', 148, 'latin1');
  header.write('0', 156, 'latin1');
  header.write('ustar', 257, 'latin1');
  header.write(
    header
      .reduce((total, byte) => total + byte, 0)
      .toString(8)
      .padStart(6, '0'),
    148,
    'latin1',
  );
  return header;
}

/** Every parser of this workspace that meets bytes from outside. A new one is registered here, and nowhere else. */
export const targets: readonly FuzzTarget[] = [
  {
    name: 'onnx',
    covers: ['scanOnnx', 'decodeOnnx', 'checkOnnx', 'describeModel', 'graphOf', 'tensorValues'],
    format: 'bytes',
    seeds: once(onnxDocuments),
    parse(bytes) {
      scanOnnx(bytes);
      const model = decodeOnnx(bytes);
      checkOnnx(model);
      describeModel(model);
      return graphOf(model).initializer.map((tensor) => tensorValues(tensor).length);
    },
  },
  {
    name: 'onnx-file',
    covers: ['scanOnnxFile'],
    format: 'bytes',
    seeds: once(onnxDocuments),
    parse: (bytes) =>
      scanOnnxFile(
        {
          size: bytes.length,
          read: ({ offset, bytes: length }) => Promise.resolve(bytes.subarray(offset, offset + length)),
        },
        new AbortController().signal,
      ),
  },
  {
    name: 'manifest',
    covers: ['parseManifest'],
    format: 'json',
    seeds: once(() => [json(manifestDocument())]),
    parse: parseManifest,
  },
  {
    name: 'agent-manifest',
    covers: ['parseRelease'],
    format: 'json',
    seeds: once(() => [json(manifestDocument()), agentRelease().manifestBytes]),
    parse: parseRelease,
  },
  {
    name: 'parameters-manifest',
    covers: ['parseRelease'],
    format: 'json',
    seeds: once(() => [parametersRelease().manifestBytes]),
    parse(bytes) {
      const manifest = parseRelease(bytes);
      if (isOfKind('parameters', manifest)) Object.keys(manifest.sites).map((site) => valuesFor(manifest, site));
    },
  },
  {
    name: 'archive-header',
    covers: ['parseUstarHeader'],
    format: 'bytes',
    seeds: once(() => [archiveHeader()]),
    parse: parseUstarHeader,
  },
  {
    name: 'bundle',
    covers: ['readLayout'],
    format: 'bytes',
    seeds: once(() => [bundle()]),
    parse: (bytes) => readLayout(inMemory(bytes)),
  },
  {
    name: 'bundle-contents',
    covers: ['parseContents'],
    format: 'json',
    seeds: once(() => [encodeContents(contentsOf(FILES))]),
    parse: parseContents,
  },
  {
    name: 'golden-vectors',
    covers: ['decodeGoldenVectors'],
    format: 'json',
    seeds: once(() => [golden()]),
    parse: decodeGoldenVectors,
  },
  {
    name: 'labelled-samples',
    covers: ['decodeLabelledSamples'],
    format: 'json',
    seeds: once(() => [samples()]),
    parse: decodeLabelledSamples,
  },
  {
    name: 'profile',
    covers: ['parseProfile'],
    format: 'json',
    seeds: once(() => [json(profileDocument())]),
    parse: (bytes) => parseProfile(parsed(bytes)),
  },
  {
    name: 'drift-thresholds',
    covers: ['parseDriftThresholds'],
    format: 'json',
    seeds: once(() => [json(thresholdsDocument())]),
    parse: (bytes) => parseDriftThresholds(parsed(bytes)),
  },
  {
    name: 'key-pair',
    covers: ['parseKeyPair'],
    format: 'json',
    seeds: once(() => [json(keyPairFromSeed(Buffer.alloc(32, 1), 'fuzzing'))]),
    parse: (bytes) => parseKeyPair(parsed(bytes)),
  },
  {
    name: 'key-set',
    covers: ['parseKeySet'],
    format: 'json',
    seeds: once(() => [
      json({ threshold: 1, keys: [1, 2].map((byte) => publicKeyOf(keyPairFromSeed(Buffer.alloc(32, byte)))) }),
    ]),
    parse: (bytes) => parseKeySet(parsed(bytes)),
  },
  {
    name: 'topic',
    covers: ['deviceOfTopic'],
    format: 'bytes',
    seeds: once(() =>
      [ordersTopic(DeviceId('pump-7')), reportsTopic(DeviceId('a'))].map((topic) => Buffer.from(topic)),
    ),
    parse: (bytes) => [deviceOfTopic(text(bytes), 'orders'), deviceOfTopic(text(bytes), 'reports')],
  },
  ...[DeviceId, ModelName, Version, Digest, KeyId, RolloutId, DeploymentId].map((parse): FuzzTarget => ({
    name: `id-${parse.name}`,
    covers: [parse.name],
    format: 'bytes',
    seeds: once(() => names.filter((name) => isAccepted(parse, name)).map((name) => Buffer.from(name))),
    parse: (bytes) => parse(text(bytes)),
  })),
  ...signedDocuments,
  ...repositoryMetadata,
  ...deliveryDocuments,
];

function isAccepted(parse: (text: string) => unknown, name: string): boolean {
  try {
    parse(name);
    return true;
  } catch {
    return false;
  }
}
