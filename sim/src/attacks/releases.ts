import { digestHex, digestOf, Version } from '@drover/shared/ids';
import { encodeOnnx, floatTensor, graph, model, node, valueInfo } from '@drover/shared/onnx';
import type { Attack } from './attack.js';
import { refusalOfOrder } from './refusal.js';

/** Attacks with releases that the publishers did not sign in this form, or should not have signed. */
export const releaseAttacks: readonly Attack[] = [
  {
    name: 'extraneous dependencies: a file added to what the publishers signed',
    attackerHas: "the control plane, its director's key included",
    async carryOut(world) {
      const { version, manifest, digest } = await world.publisher.publish('3.0.0', { seed: 4 });
      const extra = { kind: 'other', file: { path: 'extra.so', digest, bytes: 1 } };
      const altered = Buffer.from(JSON.stringify({ ...manifest, assets: [extra] }));
      await world.controlPlane.operator.putBlob(digestHex(digestOf(altered)), altered);
      return refusalOfOrder(world, { version, digest: digestOf(altered) }, { code: 'REPOSITORIES_DISAGREE' });
    },
  },
  {
    name: 'an order for a version that the publishers never listed',
    attackerHas: "the director's key and the broker",
    carryOut: (world) =>
      refusalOfOrder(world, { version: Version('9.9.0'), digest: world.older.digest }, { code: 'RELEASE_NOT_LISTED' }),
  },
  {
    name: 'mix-and-match: the release of one version under the name of another',
    attackerHas: "the director's key and the broker",
    async carryOut(world) {
      const { version } = await world.publisher.publish('3.1.0', { seed: 5 });
      return refusalOfOrder(world, { version, digest: world.older.digest }, { code: 'REPOSITORIES_DISAGREE' });
    },
  },
  {
    name: 'an ONNX file whose external data leave its folder',
    attackerHas: 'a publisher who signs without looking',
    async carryOut(world) {
      const watch = await world.watch();
      const release = await world.publisher.publish('3.2.0', {
        seed: 2,
        model: withExternalData('../../../../etc/passwd'),
      });
      await world.rollOut(release.version);
      const { error } = await watch.refusal();
      if (error.code !== 'ONNX_EXTERNAL_DATA' || !error.what.includes('outside of the folder'))
        throw new Error(`It was refused as ${error.code}: ${error.what}`);
      return { code: error.code, seenIn: 'refusal report' };
    },
  },
];

function withExternalData(location: string): Uint8Array {
  const weights = floatTensor('w', [4, 3], new Float32Array(12));
  weights.rawData = new Uint8Array();
  weights.dataLocation = 1;
  weights.externalData.push({ $typeName: 'onnx.StringStringEntryProto', key: 'location', value: location });
  return encodeOnnx(
    model({
      opset: 17,
      graph: graph({
        name: 'g',
        inputs: [valueInfo('features', 'FP32', ['n', 4])],
        outputs: [valueInfo('probabilities', 'FP32', ['n', 3])],
        initializers: [weights],
        nodes: [node('MatMul', ['features', 'w'], ['probabilities'])],
      }),
    }),
  );
}
