import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { decodeOnnx, describeModel, encodeOnnx, floatTensor, graph, model, node, valueInfo } from '@drover/shared/onnx';
import { seededRandom } from '@drover/shared/statistics';
import { evaluateClassifier } from '../../src/learn/index.js';
import { dataDir } from './gas-sensor-data.js';

async function run(bytes: Uint8Array, feeds: Record<string, Tensor>): Promise<Record<string, unknown>> {
  const session = await InferenceSession.create(bytes, { intraOpNumThreads: 1, logSeverityLevel: 3 });
  const outputs = await session.run(feeds);
  const values = Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, tensor.data]));
  await session.release();
  return values;
}

describe('a model made by the builder', () => {
  it('when ONNX Runtime runs it, it computes what the graph says', async () => {
    const bytes = encodeOnnx(
      model({
        opset: 17,
        graph: graph({
          name: 'affine',
          inputs: [valueInfo('x', 'FP32', ['N', 2])],
          outputs: [valueInfo('y', 'FP32', ['N', 1])],
          initializers: [floatTensor('w', [1, 2], Float32Array.of(3, -1)), floatTensor('b', [1], Float32Array.of(10))],
          nodes: [node('Gemm', ['x', 'w', 'b'], ['y'], { transB: { int: 1 }, alpha: { float: 0.5 } })],
        }),
      }),
    );
    const found = await run(bytes, { x: new Tensor('float32', Float32Array.of(2, 4, 1, 0), [2, 2]) });
    expect(found).toEqual({ y: Float32Array.of(11, 11.5) });
  });
});

describe.skipIf(!existsSync(dataDir))('real models (set DROVER_DATA_DIR; skipped where absent)', () => {
  it.each([
    'mnist/mnist.onnx',
    'face-detection/version-RFB-320.onnx',
    'face-detection/version-slim-320.onnx',
    'onnx-light/light_squeezenet.onnx',
  ])('when %s is decoded and encoded, ONNX Runtime gives the same outputs for it', async (file) => {
    const bytes = readFileSync(join(dataDir, file));
    const decoded = decodeOnnx(bytes);
    const random = seededRandom(1);
    const feeds = Object.fromEntries(
      describeModel(decoded).inputs.map(({ name, shape }) => {
        const values = Float32Array.from({ length: shape.reduce((product, size) => product * size, 1) }, () =>
          random.next(),
        );
        return [name, new Tensor('float32', values, shape)];
      }),
    );
    expect(await run(encodeOnnx(decoded), feeds)).toEqual(await run(bytes, feeds));
  });

  it('when MNIST is judged on the first 1,000 test images, its accuracy is known', async () => {
    const read = (name: string, header: number) =>
      gunzipSync(readFileSync(join(dataDir, 'mnist', name))).subarray(header);
    const count = 1000;
    const features = Float32Array.from(read('t10k-images-idx3-ubyte.gz', 16).subarray(0, count * 784));
    const labels = Int32Array.from(read('t10k-labels-idx1-ubyte.gz', 8).subarray(0, count));
    const found = await evaluateClassifier(readFileSync(join(dataDir, 'mnist/mnist.onnx')), {
      features,
      labels,
      count,
      width: 784,
    });
    expect(found.accuracy).toBeGreaterThan(0.98);
  });
});
