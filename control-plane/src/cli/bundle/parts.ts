import { blobEntry, metadataEntry, orderEntry, RECOVERY_ENTRY, type BundleContents } from '@drover/shared/bundle';
import { digestHex, digestOf, type Digest } from '@drover/shared/ids';
import { allFiles, filesFor, indexFileOf, parseRelease, variantFor, type FileReference } from '@drover/shared/manifest';
import { expiresAtMs, rootFileName, type MetadataFile, type MetadataKind } from '@drover/shared/trust/tuf';
import type { BundleOrders } from '../../bundles/index.js';
import type { Release } from '../../registry/index.js';
import type { Client } from '../client.js';
import { rootsOf } from '../release-metadata/roots.js';
import { controlPlaneMetadata, requireFile } from '../release-metadata/source.js';

/** One entry, and where its bytes are. */
export interface Part {
  readonly name: string;
  readonly bytes: number;
  readonly digest: Digest;
  readonly read: (signal: AbortSignal) => AsyncIterable<Uint8Array> | readonly Uint8Array[];
}

const inMemory = (name: string, content: Uint8Array): Part => ({
  name,
  bytes: content.length,
  digest: digestOf(content),
  read: () => [content],
});

export interface MetadataParts {
  readonly parts: readonly Part[];
  /** When the first of them expires, in milliseconds since 1970. */
  readonly freshUntilMs: number;
}

/** Everything that a device needs to get from any root that the repository has to what is in force now, for one model and no other (TUF 1.0, section 5). */
export async function metadataParts(client: Client, model: string, signal: AbortSignal): Promise<MetadataParts> {
  const source = controlPlaneMetadata(client);
  const parts: Part[] = [];
  const expiries: number[] = [];
  const keep = (name: string, { bytes }: MetadataFile) => parts.push(inMemory(metadataEntry(name), bytes));
  const current = async <Kind extends MetadataKind>(kind: Kind, name: string) => {
    const file = await requireFile(source, kind, name, signal);
    keep(name, file);
    expiries.push(expiresAtMs(file.signed));
    return file.signed;
  };

  const roots = await rootsOf(source, signal);
  for (const root of roots) keep(rootFileName(root.signed.version), root);
  expiries.push(...roots.slice(-1).map(({ signed }) => expiresAtMs(signed)));
  const timestamp = await current('timestamp', 'timestamp.json');
  const snapshot = await current('snapshot', `${timestamp.meta['snapshot.json'].version}.snapshot.json`);
  for (const role of ['targets', model]) {
    const listed = snapshot.meta[`${role}.json`];
    if (listed) await current('targets', `${listed.version}.${role}.json`);
  }
  return { parts, freshUntilMs: Math.min(...expiries) };
}

/** The manifest and its files; for devices that are known, only what their hardware takes. */
export async function releaseParts(
  client: Client,
  { digest }: Pick<Release, 'digest'>,
  hardwareClasses: readonly string[],
  signal: AbortSignal,
): Promise<Part[]> {
  const manifestBytes = await client.document(contentPath(digest), signal);
  const manifest = parseRelease(manifestBytes);
  const files =
    'variants' in manifest && 'goldenVectors' in manifest && hardwareClasses.length > 0
      ? hardwareClasses
          .flatMap((hardware) => filesFor(manifest, variantFor(manifest, hardware)))
          .flatMap((file) => [file, ...indexFileOf(file)])
      : allFiles(manifest);
  const byDigest = new Map<Digest, FileReference>(files.map((file) => [file.digest, file]));
  return [
    inMemory(blobEntry(digest), manifestBytes),
    ...[...byDigest.values()].map((file): Part => ({
      name: blobEntry(file.digest),
      bytes: file.bytes,
      digest: file.digest,
      read: (within) => client.read(contentPath(file.digest), within),
    })),
  ];
}

export const orderParts = ({ orders, recovery }: BundleOrders): Part[] => [
  ...(recovery === undefined ? [] : [inMemory(RECOVERY_ENTRY, Buffer.from(recovery))]),
  ...orders.map(({ deviceId, envelope }) => inMemory(orderEntry(deviceId), Buffer.from(envelope))),
];

export const entriesOf = (parts: readonly Part[]): BundleContents['entries'] =>
  parts.map(({ name, bytes, digest }) => ({ name, bytes, digest }));

const contentPath = (digest: Digest): string => `/device/blobs/${digestHex(digest)}`;
