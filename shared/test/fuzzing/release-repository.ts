import { digestHex, digestOf } from '../../src/ids/index.js';
import { keyPairFromSeed } from '../../src/trust/index.js';
import { signMetadata, tufSigner, type MetadataFile, type MetadataKind } from '../../src/trust/tuf/index.js';

export const NOW_MS = Date.UTC(2030, 0, 1);
const common = { spec_version: '1.0.34', version: 1, expires: '2030-02-01T00:00:00Z' };
/** Fixed, so that a case that was found can be made again. */
const signer = tufSigner(keyPairFromSeed(Buffer.alloc(32, 9)));
const role = { keyids: [signer.keyId], threshold: 1 };
const keys = { [signer.keyId]: signer.key };
const roles = { root: role, timestamp: role, snapshot: role, targets: role };
const release = Buffer.from('{"format":"drover.release/1"}');
export const TARGET_PATH = 'gas/1.0.0.json';

const signed = (document: MetadataFile['signed']): Uint8Array => signMetadata(document, [signer]);

/** A whole release repository: its files by the names under which they are served. `1.root.json` is the one that a device pins. */
export const repositoryFiles: ReadonlyMap<string, { readonly kind: MetadataKind; readonly bytes: Uint8Array }> =
  new Map([
    [
      '1.root.json',
      { kind: 'root', bytes: signed({ _type: 'root', ...common, consistent_snapshot: true, keys, roles }) },
    ],
    [
      '2.root.json',
      { kind: 'root', bytes: signed({ _type: 'root', ...common, version: 2, consistent_snapshot: true, keys, roles }) },
    ],
    [
      'timestamp.json',
      {
        kind: 'timestamp',
        bytes: signed({ _type: 'timestamp', ...common, meta: { 'snapshot.json': { version: 1 } } }),
      },
    ],
    [
      '1.snapshot.json',
      {
        kind: 'snapshot',
        bytes: signed({
          _type: 'snapshot',
          ...common,
          meta: { 'targets.json': { version: 1 }, 'gas.json': { version: 1 } },
        }),
      },
    ],
    [
      '1.targets.json',
      {
        kind: 'targets',
        bytes: signed({
          _type: 'targets',
          ...common,
          targets: {},
          delegations: { keys, roles: [{ name: 'gas', ...role, terminating: true, paths: ['gas/*'] }] },
        }),
      },
    ],
    [
      '1.gas.json',
      {
        kind: 'targets',
        bytes: signed({
          _type: 'targets',
          ...common,
          targets: { [TARGET_PATH]: { length: release.length, hashes: { sha256: digestHex(digestOf(release)) } } },
        }),
      },
    ],
  ]);
