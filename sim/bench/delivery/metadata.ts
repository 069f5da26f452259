import { httpReleaseSource } from '@drover/agent/update';
import { digestHex, digestOf, ModelName, Version } from '@drover/shared/ids';
import { RELEASE_FORMAT, type Manifest } from '@drover/shared/manifest';
import { createKeyPair } from '@drover/shared/trust';
import {
  delegate,
  firstModelRole,
  firstRoot,
  firstTargets,
  releasePath,
  withRelease,
  type Holders,
} from '@drover/shared/trust/ceremony';
import {
  RepositoryClient,
  signatureOf,
  signMetadata,
  tufSigner,
  type Root,
  type Targets,
} from '@drover/shared/trust/tuf';
import { MemoryCache } from '@drover/shared/trust/tuf/simulator';
import type { Operator } from '../../src/fleet/index.js';
import type { Credential } from './bench-device.js';

const MODELS = ['anomaly', 'classifier', 'detector', 'forecast', 'segmenter'].map(ModelName);
const RELEASES = 20;
const YEAR_MS = 365 * 86_400_000;

/**
 * HTTP bodies of the metadata that a device fetches, as they cross the link: `cold` by a device that knows only its root and looks for a release of each model,
 * `coldOneModel` by one that runs one of them, `steady` when nothing is new.
 */
export async function measureMetadata(operator: Operator, device: Credential, signal: AbortSignal) {
  const root = await publishReleases(operator);
  let bytes = 0;
  const source = httpReleaseSource({
    controlPlaneUrl: operator.url,
    ...device,
    fetch: async (...request) => {
      const response = await fetch(...request);
      if (response.ok) bytes += Number(response.headers.get('content-length'));
      return response;
    },
  });
  const options = { fetcher: source.metadata, nowMs: Date.now(), signal };
  const look = async (models: readonly ModelName[]) => {
    const client = new RepositoryClient({ pinnedRoot: root, cache: new MemoryCache() });
    bytes = 0;
    await client.refresh(options);
    for (const model of models) {
      const found = await client.target(releasePath(model, newest), options);
      if (!found) throw new Error(`${model} ${newest} is not listed.`);
    }
    const coldBytes = bytes;
    bytes = 0;
    await client.refresh(options);
    return { coldBytes, steadyBytes: bytes };
  };
  const all = await look(MODELS);
  const one = await look(MODELS.slice(0, 1));
  return {
    ...all,
    raw: { models: MODELS.length, releases: MODELS.length * RELEASES, coldOneModelBytes: one.coldBytes },
  };
}

const versionOf = (release: number): Version => Version(`1.${release}.0`);
const newest = versionOf(RELEASES - 1);

/** Each model has a publisher of its own. @returns the root that devices pin */
async function publishReleases(operator: Operator): Promise<Uint8Array> {
  const file = Buffer.from('stands for a model');
  const put = (content: Uint8Array) => operator.putBlob(digestHex(digestOf(content)), content);
  await put(file);
  const { items } = await operator.get<{ items: { publicKey: string }[] }>('/api/v1/repository/online-keys');
  const owner = createKeyPair('owner');
  const heldBy = (key: { readonly publicKey: string }): Holders => ({ keys: [key], threshold: 1 });
  const online: Holders = { keys: items.slice(-1), threshold: 1 };
  const expiresAtMs = Date.now() + YEAR_MS;
  const root = firstRoot({ root: heldBy(owner), targets: heldBy(owner), online, expiresAtMs });
  const signed = (role: string, document: Root | Targets, key: typeof owner) => ({
    role,
    signed: document,
    signatures: [signatureOf(document, tufSigner(key))],
  });
  let targets = firstTargets(expiresAtMs);
  const roles: ReturnType<typeof signed>[] = [];
  for (const model of MODELS) {
    const author = createKeyPair(model);
    targets = delegate(targets, model, heldBy(author), expiresAtMs);
    let role = firstModelRole(expiresAtMs);
    for (let release = 0; release < RELEASES; release++) {
      const version = versionOf(release);
      const manifest = Buffer.from(JSON.stringify(manifestOf(model, version, file)));
      await put(manifest);
      const sha256 = digestHex(digestOf(manifest));
      role = withRelease(role, { model, version, manifestBytes: manifest.length, sha256 });
    }
    roles.push(signed(model, role, author));
  }
  const documents = [signed('root', root, owner), signed('targets', targets, owner), ...roles];
  await operator.send('POST', '/api/v1/repository/publications', { documents });
  return signMetadata(root, [tufSigner(owner)]);
}

/** What it names is never run here; the metadata is as large whatever it names. */
function manifestOf(model: ModelName, version: Version, file: Uint8Array): Manifest {
  const reference = (path: string) => ({ path, digest: digestOf(file), bytes: file.length });
  const tensor = (name: string) => ({ name, datatype: 'FP32' as const, shape: [-1, 4] });
  return {
    format: RELEASE_FORMAT,
    model,
    version,
    createdAt: '2026-01-01T00:00:00Z',
    task: { type: 'tensors' },
    variants: [
      {
        name: 'any',
        hardwareClasses: ['*'],
        precision: 'fp32',
        model: reference('model.onnx'),
        signature: { inputs: [tensor('x')], outputs: [tensor('y')] },
      },
    ],
    assets: [],
    contract: { perHardwareClass: [], parity: { absolute: 1e-5, relative: 1e-5 } },
    goldenVectors: reference('golden.json'),
    lineage: { data: [] },
  };
}
