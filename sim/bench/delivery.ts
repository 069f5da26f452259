import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { deflateSync } from 'node:zlib';
import { memorySource, tensorSpans } from '@drover/shared/delivery';
import { seededRandom } from '@drover/shared/statistics';
import type { FileReference } from '@drover/shared/manifest';
import { startControlPlane } from '../src/fleet/index.js';
import { measureApply } from './delivery/apply-memory.js';
import { enrolBenchDevice, openBenchDevice, type BenchDevice } from './delivery/bench-device.js';
import { countingProxy } from './delivery/counting-proxy.js';
import { entropyShare } from './delivery/entropy.js';
import { idleMonth } from './delivery/idle-month.js';
import { measureMetadata } from './delivery/metadata.js';
import { encodeNetwork, fineTunedByAdam, freshNetwork, scaled, withNewHead } from './delivery/payload.js';
import { upload } from './delivery/publisher.js';
import { measureReverts } from './delivery/reverts.js';
import { measureWriteSpeed } from './delivery/write-speed.js';

interface Bench {
  readonly seed: number;
  readonly quick: boolean;
  readonly signal: AbortSignal;
  readonly progress: (line: string) => void;
}

const FULL = { layers: 99, adamSteps: 200, cuts: 100, applyMiB: 512, reverts: 200, crashes: 200 };
/** For CI: an eighth of the payload, and fewer repetitions. */
const QUICK = { layers: 12, adamSteps: 20, cuts: 20, applyMiB: 64, reverts: 20, crashes: 3 };

/** Bytes on the wire of updates, and what applying them costs (definitions: "Benchmarks: fixed definitions", delivery). */
export default async function delivery({ seed, quick, signal, progress }: Bench) {
  const size = quick ? QUICK : FULL;
  const folder = await mkdtemp(join(tmpdir(), 'drover-bench-delivery-'));
  const controlPlane = await startControlPlane({ dataDir: join(folder, 'control-plane'), httpPort: 0, mqttPort: 0 });
  const proxy = await countingProxy(controlPlane.httpUrl);
  try {
    const { operator } = controlPlane;
    const credential = await enrolBenchDevice(operator);
    let devices = 0;
    /** A device that has these files and nothing else. */
    const deviceWith = async (...files: readonly FileReference[]): Promise<BenchDevice> => {
      const device = await openBenchDevice(join(folder, `device-${devices++}`), proxy.url, credential);
      for (const file of files) await device.deliver(file, signal);
      return device;
    };
    /** Everything that crosses the link, headers and requests included, over the bytes of the file. */
    const update = async (base: FileReference, content: Uint8Array) => {
      const target = await upload(operator, 'model.onnx', content);
      const device = await deviceWith(base);
      proxy.reset();
      const { how } = await device.deliver(target, signal);
      const wireBytes = proxy.bytes();
      await device.verify(target, signal);
      await device.remove();
      return { ratio: wireBytes / content.length, wireBytes, fileBytes: content.length, how };
    };

    progress('payload');
    const old = freshNetwork(seed, size.layers);
    const oldBytes = encodeNetwork(old);
    const base = await upload(operator, 'model.onnx', oldBytes);
    progress('head only');
    const headOnly = await update(base, encodeNetwork(withNewHead(old, seed + 1)));
    progress('every weight changed by 1e-3, by 1e-2');
    const tuned = encodeNetwork(scaled(old, 1e-3, seed + 2));
    const fineTuned1e3 = await update(base, tuned);
    const fineTuned1e2 = await update(base, encodeNetwork(scaled(old, 1e-2, seed + 3)));
    progress(`${size.adamSteps} steps of Adam`);
    const trained = await fineTunedByAdam(old, seed + 4, size.adamSteps, (step) => {
      if (step % 20 === 0) progress(`  step ${step}`);
    });
    const adam = await update(base, encodeNetwork(trained));
    progress('fresh weights');
    const unrelated = await update(base, encodeNetwork(freshNetwork(seed + 5, size.layers)));
    const real = await measureReal(operator, deviceWith, proxy, signal);

    progress(`${size.cuts} cuts`);
    const resume = await measureResume(await deviceWith(), proxy, { base, cuts: size.cuts, seed, signal });
    progress('writing against copying');
    const writer = await deviceWith(base);
    // The same chunks, and one more at the end.
    const longer = await upload(operator, 'model.onnx', Buffer.concat([oldBytes, Buffer.from('\u0012\u0001x')]));
    const writing = await measureWriteSpeed(writer, { base, target: longer, signal });
    await writer.remove();
    progress(`applying ${size.applyMiB} MiB`);
    const large = await upload(operator, 'asset.bin', largeAsset(oldBytes, size.applyMiB));
    const applied = await measureApply({
      dataDir: join(folder, 'apply'),
      url: controlPlane.httpUrl,
      credential,
      reference: large,
    });
    progress('forced health failures');
    const reverts = await measureReverts({ folder, reverts: size.reverts, crashes: size.crashes, signal });
    const metadata = await measureMetadata(operator, credential, signal);
    const idle = idleMonth();
    return {
      headOnlyRatio: headOnly.ratio,
      fineTuned1e3Ratio: fineTuned1e3.ratio,
      fineTuned1e2Ratio: fineTuned1e2.ratio,
      fineTuned1e3Bound: entropyShare(old, 1e-3),
      fineTuned1e2Bound: entropyShare(old, 1e-2),
      adamRatio: adam.ratio,
      unrelatedRatio: unrelated.ratio,
      rfb320HeadRatio: real?.ratio ?? null,
      resumeOverheadRatio: resume.overhead,
      verifyVsCopyRatio: writing.ratio,
      applyPeakMiB: applied.peakMiB - applied.idleMiB,
      applyLagP99Ms: applied.lagP99Ms,
      metadataColdBytes: metadata.coldBytes,
      metadataSteadyBytes: metadata.steadyBytes,
      revertP99Ms: reverts.revertP99Ms,
      revertCrashP99Ms: reverts.revertCrashP99Ms,
      idleMiBPerMonth: idle.idleMiBPerMonth,
      raw: {
        payload: { bytes: oldBytes.length, initializers: size.layers + 1 },
        updates: { headOnly, fineTuned1e3, fineTuned1e2, adam, unrelated, real },
        xorPlanesZlib1e3: planesAndZlib(oldBytes, tuned),
        resume,
        writing,
        applied,
        reverts,
        metadata: metadata.raw,
        idle: idle.raw,
        /** Of one, five and fifteen minutes: more than the cores have makes all times longer. */
        loadAverage: loadavg(),
      },
    };
  } finally {
    await proxy.close();
    await controlPlane.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

/** The peer for the record: XOR with the base, byte planes, zlib at its default level, in pieces of 256 KiB. */
function planesAndZlib(base: Uint8Array, target: Uint8Array): number {
  const piece = 256 * 1024;
  let bytes = 0;
  for (let from = 0; from + piece <= target.length; from += piece) {
    const planes = new Uint8Array(piece);
    for (let index = 0; index < piece; index++) {
      planes[(index % 4) * (piece / 4) + (index >> 2)] = (target[from + index] ?? 0) ^ (base[from + index] ?? 0);
    }
    bytes += deflateSync(planes).length;
  }
  return bytes / (target.length - (target.length % piece));
}

/** RFB-320 to itself with one initializer changed, the one whose size is the nearest to .5 % of the bytes, where the data are at hand. */
async function measureReal(
  operator: Parameters<typeof upload>[0],
  deviceWith: (...files: readonly FileReference[]) => Promise<BenchDevice>,
  proxy: { reset(): void; bytes(): number },
  signal: AbortSignal,
) {
  const data = process.env['DROVER_DATA_DIR'] ?? fileURLToPath(new URL('../../../shared/data', import.meta.url));
  const file = join(data, 'face-detection', 'version-RFB-320.onnx');
  if (!existsSync(file)) return undefined;
  const content = await readFile(file);
  const base = await upload(operator, 'rfb.onnx', content);
  const changed = Buffer.from(content);
  const wanted = content.length * 0.005;
  const distance = ({ bytes }: { readonly bytes: number }) => Math.abs(bytes - wanted);
  const [span] = tensorSpans(memorySource(content)).sort((left, right) => distance(left) - distance(right));
  if (!span) throw new Error('The model has no tensors.');
  // Other low bits: a training step of this tensor alone.
  for (let index = span.offset; index < span.offset + span.bytes; index += 4)
    changed[index] = (changed[index] ?? 0) ^ 85;
  const target = await upload(operator, 'rfb.onnx', changed);
  proxy.reset();
  const cold = await deviceWith();
  const { how } = await cold.deliver(base, signal);
  const coldBytes = proxy.bytes();
  proxy.reset();
  const delivered = await cold.deliver(target, signal);
  const wireBytes = proxy.bytes();
  await cold.remove();
  return {
    ratio: wireBytes / content.length,
    wireBytes,
    coldBytes,
    fileBytes: content.length,
    how: [how, delivered.how],
  };
}

/** The same download without and with cuts at places that the seed chooses. */
async function measureResume(
  device: BenchDevice,
  proxy: Awaited<ReturnType<typeof countingProxy>>,
  { base, cuts, seed, signal }: { base: FileReference; cuts: number; seed: number; signal: AbortSignal },
) {
  const deliver = async () => {
    await rm(device.store.blobFile(base.digest), { force: true });
    if (base.index) await rm(device.store.blobFile(base.index.digest), { force: true });
    await device.deliver(base, signal);
    return proxy.bytes();
  };
  proxy.reset();
  const plainBytes = await deliver();
  proxy.reset();
  const random = seededRandom(seed).fork('cuts');
  const places = Array.from({ length: cuts }, () => random.nextInt(Math.floor(plainBytes * 0.99)));
  proxy.cutAt(places.sort((left, right) => left - right));
  const cutBytes = await deliver();
  const made = proxy.cuts();
  await device.remove();
  return { overhead: cutBytes / plainBytes - 1, plainBytes, cutBytes, cuts: made };
}

/** The payload again and again, each time with other lowest bytes, so that no chunk recurs. */
function largeAsset(payload: Uint8Array, mebibytes: number): Uint8Array {
  const asset = Buffer.alloc(mebibytes * 2 ** 20);
  for (let from = 0, turn = 0; from < asset.length; from += payload.length, turn++) {
    asset.set(payload.subarray(0, Math.min(payload.length, asset.length - from)), from);
    for (let index = from; index < Math.min(asset.length, from + payload.length); index += 4096) {
      asset[index] = (asset[index] ?? 0) ^ (turn + 1);
    }
  }
  return asset;
}
