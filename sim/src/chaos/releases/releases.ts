import { digestOf, DeviceId, ModelName, newDeploymentId, Version, type Digest } from '@drover/shared/ids';
import { AGENT_MODEL, parametersOf, RELEASE_FORMAT, type FileReference, type Manifest } from '@drover/shared/manifest';
import { signDeployment, type Deployment } from '@drover/shared/protocol';
import { assembleAgentRelease, assembleParametersRelease } from '@drover/shared/release';
import { bulkSigner, createKeyPair, publicKeyOf, type KeySet } from '@drover/shared/trust';
import { agentBundle, TRIAL_PLATFORM } from './agent-bundle.js';
import { CLASSES, FEATURES, type ModelFile, type ModelPool } from './model-pool.js';
import { indexed, packsOf, type IndexedFile, type Pack } from './packs.js';
import { createRepository } from './repository.js';

export const TRIAL_DEVICE = DeviceId('trial-device');
export const TRIAL_MODEL = ModelName('classifier');
/** The line of its parameters. */
export const TRIAL_PARAMETERS = parametersOf(TRIAL_MODEL);
/** Where the device is. */
export const TRIAL_SITE = 'yard';
export const HARDWARE_CLASS = 'cpu-small';

export interface ReleaseRef {
  readonly version: Version;
  readonly digest: Digest;
}

export interface Published {
  readonly release: ReleaseRef;
  readonly manifestBytes: Uint8Array;
  readonly files: ReadonlyMap<Digest, Uint8Array>;
  /** Digest of the file that a device loads; of parameters: of what applications at its site are given. */
  readonly loaded: Digest;
}

export interface PublishedRelease extends Published {
  readonly model: ModelFile;
  /** Files by their path within the release. */
  readonly paths: ReadonlyMap<string, Digest>;
}

/**
 * `unfit`: its golden vectors are those of another model. `novel`: its model is one that no device has. `indexed`: its model has an index, and comes in
 * chunks and deltas.
 */
export type ReleaseKind = 'fit' | 'unfit' | 'novel' | 'indexed';

export interface Publisher {
  readonly pool: ModelPool;
  /** root.json, as text. */
  readonly pinnedRoot: string;
  readonly director: KeySet;
  /** A file of the release repository, as it stands now. */
  metadata(file: string): Uint8Array | undefined;
  /** Release number n, listed in the repository as version 1.n.m: m is new each time. */
  publish(number: number, kind?: ReleaseKind): PublishedRelease;
  publishAgent(): Published;
  /** Values that were never there before, for any release of the model. */
  publishParameters(): Published;
  pack(target: Digest, base: Digest | undefined): Promise<Pack> | undefined;
  replaceOnlineKey(): void;
  /** A signed order with a number above all before it. */
  order(release: ReleaseRef, change?: Partial<Deployment>): { readonly deployment: Deployment; readonly bytes: Buffer };
  /** Opens the next epoch; orders belong to it from now on. */
  recover(): { readonly epoch: number; readonly bytes: Buffer };
}

/** Publisher and director of one device: real models, real signatures. */
export function createPublisher(pool: ModelPool): Publisher {
  const repository = createRepository([TRIAL_MODEL, TRIAL_PARAMETERS, AGENT_MODEL]);
  const directorKey = createKeyPair('director');
  const director: KeySet = { threshold: 1, keys: [publicKeyOf(directorKey)] };
  const labels = Buffer.from('calm\nleak\nfire\n');
  const directorSigner = bulkSigner(directorKey);
  const indexedFiles = new Map(pool.indexed.map((model) => [model.digest, indexed(model.bytes)]));
  const packs = packsOf([...indexedFiles.values()]);
  let epoch = 1;
  let counter = 0;
  let publications = 0;
  let agents = 0;
  let parameters = 0;

  return {
    pool,
    pinnedRoot: repository.pinnedRoot,
    metadata: (file) => repository.files.get(file),
    director,
    publish(number, kind = 'fit') {
      const pick = (models: readonly ModelFile[], offset: number): ModelFile => {
        const found = models[(number + offset) % models.length];
        if (!found) throw new Error('the pool of models is empty');
        return found;
      };
      const model = kind === 'novel' ? pool.novel : pick(kind === 'indexed' ? pool.indexed : pool.plain, 0);
      const golden = (kind === 'unfit' ? pick(pool.plain, 1) : model).golden;
      publications += 1;
      const index = kind === 'indexed' ? indexedFiles.get(model.digest) : undefined;
      const manifest = manifestOf(`1.${number}.${publications}`, model.bytes, golden, labels, index);
      const manifestBytes = Buffer.from(JSON.stringify(manifest));
      const release = { version: manifest.version, digest: digestOf(manifestBytes) };
      repository.list(TRIAL_MODEL, release, manifestBytes.length);
      const contents = [model.bytes, golden, labels, ...(index ? [index.encoded] : [])];
      const files = new Map(contents.map((content) => [digestOf(content), content]));
      const paths = new Map([
        ['models/plain.onnx', model.digest],
        ['golden.json', digestOf(golden)],
        ['labels.txt', digestOf(labels)],
      ]);
      return { release, manifestBytes, files, loaded: model.digest, model, paths };
    },
    publishAgent() {
      agents += 1;
      const version = Version(`2.0.${agents}`);
      const bytes = agentBundle(version);
      const bundles = [{ platform: TRIAL_PLATFORM, bytes, unpackedBytes: 100_000 }];
      const { digest, manifestBytes, files } = assembleAgentRelease({ version, createdAt: new Date(0), bundles });
      repository.list(AGENT_MODEL, { version, digest }, manifestBytes.length);
      return { release: { version, digest }, manifestBytes, files, loaded: digestOf(bytes) };
    },
    publishParameters() {
      parameters += 1;
      const values = { threshold: parameters };
      const draft = {
        model: TRIAL_MODEL,
        compatible: '*',
        parameters: { threshold: { type: 'integer', minimum: 0, maximum: 2 ** 31, default: 0 } },
        sites: { [TRIAL_SITE]: values, elsewhere: { threshold: 0 } },
      } as const;
      const issue = { version: Version(`1.0.${parameters}`), createdAt: new Date(0) };
      const { manifest, digest, manifestBytes, files } = assembleParametersRelease(draft, issue);
      const { version } = manifest;
      repository.list(TRIAL_PARAMETERS, { version, digest }, manifestBytes.length);
      // docs/protocol.md, section 8.
      const document = {
        format: 'drover.parameter-values/1',
        model: TRIAL_MODEL,
        version,
        digest,
        site: TRIAL_SITE,
        values,
      };
      const loaded = digestOf(Buffer.from(`${JSON.stringify(document)}\n`));
      return { release: { version, digest }, manifestBytes, files, loaded };
    },
    pack: packs,
    replaceOnlineKey: () => repository.replaceOnlineKey(),
    order(release, change = {}) {
      counter += 1;
      const issuedAt = Date.now();
      const deployment: Deployment = {
        protocol: 1,
        kind: 'deployment',
        deploymentId: newDeploymentId(),
        deviceId: TRIAL_DEVICE,
        model: TRIAL_MODEL,
        release,
        hardwareClass: HARDWARE_CLASS,
        epoch,
        counter,
        nonce: counter.toString(16).padStart(32, '0'),
        issuedAt,
        expiresAt: issuedAt + 86_400_000,
        probation: { minMs: 10, minRequests: 4, maxMs: 30_000, maxFailureShare: 0.1, maxCrashes: 2 },
        ...change,
      };
      return { deployment, bytes: signDeployment(deployment, directorSigner) };
    },
    recover() {
      epoch += 1;
      counter = 0;
      const issuedAt = Date.now();
      const bytes = repository.signRecovery({
        protocol: 1,
        kind: 'recovery',
        epoch,
        director,
        reason: 'trial',
        issuedAt,
      });
      return { epoch, bytes };
    },
  };
}

function manifestOf(
  version: string,
  model: Uint8Array,
  golden: Uint8Array,
  labels: Uint8Array,
  index: IndexedFile | undefined,
): Manifest {
  const reference = (path: string, content: Uint8Array): FileReference => ({
    path,
    digest: digestOf(content),
    bytes: content.length,
  });
  const output = (name: string) => ({ name, datatype: 'FP32' as const, shape: [-1, CLASSES] });
  const indexOf = index && { index: { digest: index.indexDigest, bytes: index.encoded.length } };
  return {
    format: RELEASE_FORMAT,
    model: TRIAL_MODEL,
    version: Version(version),
    createdAt: '2026-01-01T00:00:00Z',
    task: { type: 'classification', scores: 'probabilities', labels: ['calm', 'leak', 'fire'] },
    variants: [
      {
        name: 'plain',
        hardwareClasses: ['*'],
        precision: 'fp32',
        model: { ...reference('models/plain.onnx', model), ...indexOf },
        signature: {
          inputs: [{ name: 'features', datatype: 'FP32', shape: [-1, FEATURES] }],
          outputs: [output('logits'), output('probabilities')],
        },
      },
    ],
    assets: [{ kind: 'labels', file: reference('labels.txt', labels) }],
    contract: { perHardwareClass: [], parity: { absolute: 1e-5, relative: 1e-5 } },
    goldenVectors: reference('golden.json', golden),
    lineage: { data: [] },
  };
}
