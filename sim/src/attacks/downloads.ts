import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Attack } from './attack.js';
import type { Hostility } from './hostile-proxy.js';
import type { AttackWorld } from './world.js';

/** Everything that carries bytes of a release to a device, in whatever form. */
const FILES = /^\/api\/v1\/device\/(?!metadata|releases)/;

let number = 0;
/** A release that the victim has never seen a byte of. */
const freshRelease = (world: AttackWorld) => {
  number += 1;
  return world.publisher.publish(`1.${number}.0`, { seed: 100 + number });
};

/** The network turns while a release is fetched; the update must end with one of these codes. */
const hostileDownload = (
  name: string,
  { act, codes }: { act: (world: AttackWorld, file: string) => Hostility; codes: readonly string[] },
): Attack => ({
  name,
  attackerHas: 'the network between device and control plane',
  async carryOut(world) {
    const watch = await world.watch();
    const release = await freshRelease(world);
    world.proxy.turn(FILES, act(world, release.file.slice('sha256:'.length)));
    await world.rollOut(release.version);
    const code = await watch.failure(release.digest);
    if (world.proxy.struck.length === 0) throw new Error('The attack met no request.');
    if (!codes.includes(code)) throw new Error(`The update ended with ${code}, not with ${codes.join(' or ')}.`);
    return { code, seenIn: 'transition report' };
  },
});

/** The update cannot end by itself; it must neither hold up the next order nor the serving. */
const hostileSilence = (name: string, act: Hostility): Attack => ({
  name,
  attackerHas: 'the network between device and control plane',
  async carryOut(world) {
    const watch = await world.watch();
    const release = await freshRelease(world);
    world.proxy.turn(FILES, act);
    await world.rollOut(release.version);
    await world.until('the device to be struck', () => (world.proxy.struck.length > 0 ? true : undefined));
    await world.assertServesBase();
    // The operator wants something else: the base release, which the device has.
    await world.sendOrder(world.forgeOrder(world.base));
    const code = await watch.failure(release.digest);
    if (code !== 'UPDATE_SUPERSEDED') throw new Error(`The update ended with ${code}, not with UPDATE_SUPERSEDED.`);
    return { code, seenIn: 'transition report' };
  },
});

/** Lets the true answer pass, but with other bytes of the same length; uncompressed, because damaged compression is only a bad link. */
const swapBytes: Hostility = (request, response, pass) => {
  delete request.headers['accept-encoding'];
  const write = response.write.bind(response);
  response.write = ((chunk: Buffer) => write(Buffer.alloc(chunk.length, 0x5a))) as ServerResponse['write'];
  pass();
};

const endless: Hostility = (_request, response) => {
  response.writeHead(200, { 'content-type': 'application/octet-stream' });
  const pour = (): void => {
    if (!response.destroyed) response.write(Buffer.alloc(64 * 1024, 1), () => setImmediate(pour));
  };
  pour();
};

const dripping: Hostility = (_request, response) => {
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': '1000000' });
  const timer = setInterval(() => response.write('x'), 500);
  response.once('close', () => clearInterval(timer));
};

const missing =
  (hex: string): Hostility =>
  (request: IncomingMessage, response, pass) => {
    if (!request.url?.includes(hex)) {
      pass();
      return;
    }
    response.writeHead(404, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ error: { code: 'BLOB_UNKNOWN', what: 'gone', remedy: 'none' } }));
  };

/** Attacks by whoever carries the bytes of a release. */
export const downloadAttacks: readonly Attack[] = [
  hostileDownload('arbitrary software: other bytes under the name of a file', {
    act: () => swapBytes,
    codes: ['FETCH_DIGEST_MISMATCH', 'RELEASE_DIGEST_MISMATCH'],
  }),
  hostileDownload('endless data', { act: () => endless, codes: ['FETCH_TOO_LARGE'] }),
  hostileDownload('partial bundle: a file of the release is held back', {
    act: (_world, hex) => missing(hex),
    codes: ['FETCH_NOT_FOUND'],
  }),
  hostileSilence('slow retrieval', dripping),
  hostileSilence('dropped requests', (request) => request.socket.destroy()),
];
