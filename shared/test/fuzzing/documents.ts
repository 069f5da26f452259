import { digestOf, ModelName, Version } from '../../src/ids/index.js';
import type { Manifest } from '../../src/manifest/index.js';
import { encodeOnnx, floatTensor, graph, int64Tensor, model, node, valueInfo } from '../../src/onnx/index.js';
import { ProfileBuilder, toJson, type ProfileDocument } from '../../src/profile/index.js';
import type { DriftThresholds } from '../../src/statistics/index.js';

/** A classifier, and one whose branches are graphs of their own. */
export function onnxDocuments(): Uint8Array[] {
  const x = valueInfo('x', 'FP32', ['n', 4]);
  const y = valueInfo('y', 'FP32', ['n', 2]);
  const weights = floatTensor(
    'w',
    [4, 2],
    Float32Array.from({ length: 8 }, (_, index) => index),
  );
  const plain = graph({
    name: 'plain',
    inputs: [x],
    outputs: [y],
    initializers: [weights, int64Tensor('axes', [1], [-1])],
    nodes: [node('MatMul', ['x', 'w'], ['z']), node('Softmax', ['z'], ['y'], { axis: { int: -1 } })],
  });
  const branch = (name: string) =>
    graph({ name, inputs: [], outputs: [y], nodes: [node('Constant', [], ['y'], { value: { tensor: weights } })] });
  const branching = graph({
    name: 'branching',
    inputs: [x, valueInfo('condition', 'BOOL', [1])],
    outputs: [y],
    nodes: [
      node('If', ['condition'], ['y'], {
        then_branch: { graph: branch('then') },
        else_branch: { graph: branch('else') },
        note: { string: 'text' },
        sizes: { ints: [1, 2, 3] },
        scales: { floats: [0.5, 2] },
      }),
    ],
  });
  return [plain, branching].map((main) => encodeOnnx(model({ opset: 17, graph: main })));
}

export const thresholdsDocument = (): DriftThresholds => ({
  detector: 'ks-max',
  windowSize: 200,
  falseAlarmRate: 0.001,
  confirmWindows: 2,
  threshold: 0.2,
  features: 3,
  referenceRows: 4_000,
  calibration: {
    method: 'moving-block-bootstrap',
    blockLength: 1,
    runs: 1_000,
    seed: 1,
    streams: 1,
    shortStreams: 0,
    autocorrelation: 0.1,
    integratedTime: 1.2,
  },
});

/** Uses every optional key, so that each is changed some day. */
export function manifestDocument(): Manifest {
  const file = (path: string, contents: string) => ({
    path,
    digest: digestOf(Buffer.from(contents)),
    bytes: contents.length,
  });
  const digest = digestOf(Buffer.from('anything'));
  return {
    format: 'drover.release/1',
    model: ModelName('gas-classifier'),
    version: Version('1.2.0'),
    createdAt: '2026-01-01T00:00:00.000Z',
    description: 'for people',
    task: { type: 'classification', scores: 'y', labels: ['ethanol', 'ammonia'] },
    variants: [
      {
        name: 'default',
        hardwareClasses: ['*', 'jetson'],
        precision: 'fp32',
        model: file('default/model.onnx', 'model'),
        signature: {
          inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 4] }],
          outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 2] }],
        },
      },
    ],
    assets: [{ kind: 'anchor', file: file('anchor.json', 'anchor') }],
    revertFloor: Version('1.0.0'),
    contract: {
      perHardwareClass: [{ hardwareClass: 'jetson', maxLatencyMs: 10, maxMemoryMiB: 100 }],
      parity: { absolute: 1e-3, relative: 1e-3 },
      heldOut: { accuracy: 0.9, rows: 100 },
    },
    goldenVectors: file('golden.json', 'golden'),
    referenceProfile: file('profile.json', 'profile'),
    drift: thresholdsDocument(),
    recipe: {
      optimizer: 'adam',
      learningRate: 0.001,
      momentum: 0.9,
      weightDecay: 0,
      batchSize: 32,
      epochs: 5,
      replayShare: 0.5,
      trainable: ['w'],
      adaptation: 'auto',
      bounds: { minLabelled: 50, holdoutShare: 0.3, minImprovement: 0.01, maxForgetting: 0.02, alpha: 0.05 },
    },
    lineage: {
      parent: digest,
      data: [{ name: 'normal.csv', digest, rows: 100 }],
      run: { id: 'run-1', tool: 'drover', seed: 1, steps: 100, metrics: { loss: 0.1 } },
      modelSignature: {
        predicateType: 'https://model_signing/signature/v1.0',
        bundle: digest,
        root: digest,
        files: 2,
        signedBy: { method: 'certificate', subject: 'CN=signer', issuer: 'CN=root', certificate: digest },
      },
    },
  };
}

export function profileDocument(): ProfileDocument {
  const builder = new ProfileBuilder({ features: ['a', 'b', 'c'], labels: ['ethanol', 'ammonia'], confidence: true });
  for (let row = 0; row < 300; row += 1)
    builder.add(Float32Array.of(row, Math.sin(row), row % 7 === 0 ? NaN : 1), { prediction: row % 2, confidence: 0.5 });
  return toJson(builder.build());
}
