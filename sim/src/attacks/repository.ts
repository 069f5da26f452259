import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestHex, digestOf, Version, type Digest } from '@drover/shared/ids';
import { parseKeyPair } from '@drover/shared/trust';
import { renew, withRelease } from '@drover/shared/trust/ceremony';
import {
  encodeMetadata,
  expiresAtMs,
  servedFileName,
  signMetadata,
  tufSigner,
  type MetadataSignature,
  type Snapshot,
  type Targets,
  type Timestamp,
  type TufSigner,
} from '@drover/shared/trust/tuf';
import { refusalOfOrder } from './refusal.js';
import { MODEL, type AttackWorld } from './world.js';

const METADATA = '/api/v1/device/metadata/';
const ROLE_FILE = `${MODEL}.json`;

interface Signed<Document> {
  readonly signed: Document;
  readonly signatures: readonly MetadataSignature[];
}

/** The release repository at one time, as the control plane serves it. */
export interface Moment {
  readonly timestamp: Signed<Timestamp>;
  readonly snapshot: Signed<Snapshot>;
  /** The role of the model. */
  readonly role: Signed<Targets>;
}

/** Files that a hostile repository serves, by name. */
export type ForgedFiles = ReadonlyMap<string, Uint8Array>;

export async function momentOf({ controlPlane }: AttackWorld): Promise<Moment> {
  const read = <Document>(name: string) =>
    controlPlane.operator.get<Signed<Document>>(`/api/v1/repository/metadata/${name}`);
  const timestamp = await read<Timestamp>('timestamp.json');
  const snapshot = await read<Snapshot>(
    servedFileName('snapshot', timestamp.signed.meta['snapshot.json'].version, true),
  );
  const role = await read<Targets>(servedFileName(MODEL, roleVersion(snapshot.signed), true));
  return { timestamp, snapshot, role };
}

/** Published by nobody. */
const UNLISTED = { version: Version('8.0.0'), digest: digestOf(Buffer.from('nothing')) };

/** Lets the device see the repository as it is now. */
export const letItLook = (world: AttackWorld) => refusalOfOrder(world, UNLISTED, { code: 'RELEASE_NOT_LISTED' });

export function roleVersion({ meta }: Snapshot): number {
  const listed = meta[ROLE_FILE];
  if (!listed) throw new Error(`The snapshot does not list ${ROLE_FILE}.`);
  return listed.version;
}

/** The newest of the control plane's own keys, from its disk. */
export async function stolenOnlineKey({ controlPlane }: AttackWorld): Promise<TufSigner> {
  const folder = join(controlPlane.dataDir, 'online-keys');
  const newest = (await readdir(folder)).sort().at(-1);
  if (newest === undefined) throw new Error('The control plane has no online key.');
  return tufSigner(parseKeyPair(JSON.parse(await readFile(join(folder, newest), 'utf8'))));
}

/** From now on the devices get these files; everything else is as the control plane has it. */
export function serveForged({ proxy }: AttackWorld, files: ForgedFiles): void {
  proxy.turn(new RegExp(`^${METADATA}`), (request, response, pass) => {
    const bytes = files.get((request.url ?? '').slice(METADATA.length));
    if (!bytes) {
      pass();
      return;
    }
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(bytes);
  });
}

export const encoded = <Document extends Timestamp | Snapshot | Targets>(file: Signed<Document>): Uint8Array =>
  encodeMetadata(file);

/** A timestamp and a snapshot that an attacker signs with the control plane's own keys. */
export interface OnlineForgery {
  readonly version: number;
  /** Which version of the model's role the snapshot lists. */
  readonly role: number;
}

export function forgedOnline(
  { timestamp, snapshot }: Moment,
  { version, role }: OnlineForgery,
  signer: TufSigner,
): Map<string, Uint8Array> {
  const forgedSnapshot: Snapshot = {
    ...snapshot.signed,
    version,
    meta: { ...snapshot.signed.meta, [ROLE_FILE]: { version: role } },
  };
  const forgedTimestamp: Timestamp = { ...timestamp.signed, version, meta: { 'snapshot.json': { version } } };
  return new Map([
    ['timestamp.json', signMetadata(forgedTimestamp, [signer])],
    [servedFileName('snapshot', version, true), signMetadata(forgedSnapshot, [signer])],
  ]);
}

/** The model's role in its next version, with one release more. */
export const roleWith = (
  { role: { signed } }: Moment,
  release: { readonly version: Version; readonly digest: Digest; readonly manifestBytes: number },
): Targets =>
  withRelease(renew(signed, expiresAtMs(signed)), {
    model: MODEL,
    version: release.version,
    manifestBytes: release.manifestBytes,
    sha256: digestHex(release.digest),
  });

export const roleFile = (role: Targets): string => servedFileName(MODEL, role.version, true);

/** A device that believed the stolen online key has seen higher numbers than the true repository: this goes past them. */
export async function overtake(world: AttackWorld, version: number): Promise<void> {
  await world.until('the repository to be ahead of what was forged', async () => {
    await world.publisher.renew();
    return (await momentOf(world)).timestamp.signed.version > version ? true : undefined;
  });
}
