import { blobEntry, BUNDLE_FORMAT, packBundle, type BundleBytes, type BundleContents } from '../../src/bundle/index.js';
import { digestOf, ModelName, Version } from '../../src/ids/index.js';

export type Files = readonly (readonly [name: string, content: Uint8Array])[];

const model = Buffer.from('a model');
export const FILES: Files = [
  ['metadata/1.root.json', Buffer.from('{"root": 1}')],
  ['metadata/timestamp.json', Buffer.from('{}')],
  ['orders/pump-7.json', Buffer.alloc(512, ' ')],
  [blobEntry(digestOf(model)), model],
];

export const contentsOf = (files: Files): BundleContents => ({
  format: BUNDLE_FORMAT,
  createdAt: 0,
  release: { model: ModelName('gas-classifier'), version: Version('1.0.0'), digest: digestOf(Buffer.from('m')) },
  entries: files.map(([name, content]) => ({ name, bytes: content.length, digest: digestOf(content) })),
});

/** As the exporter writes it, unless told otherwise. */
export const bundle = (files: Files = FILES, contents: unknown = contentsOf(files)): Buffer =>
  packBundle(contents as BundleContents, files);

export const inMemory = (content: Uint8Array): BundleBytes => ({
  bytes: content.length,
  read: (offset, length) => Promise.resolve(content.subarray(offset, offset + length)),
});
