import { create } from '@bufbuild/protobuf';
import { encodeOnnx } from '../../src/onnx/index.js';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  OperatorSetIdProtoSchema,
  TensorProtoSchema,
} from '../../src/onnx/generated/onnx_pb.js';
import { seededRandom } from '../../src/statistics/index.js';

export interface Layer {
  readonly name: string;
  readonly weights: Float32Array;
}

/** Normal weights, as they stand in trained networks. */
export function layer(name: string, count: number, seed: number): Layer {
  const random = seededRandom(seed);
  return { name, weights: Float32Array.from({ length: count }, () => random.normal() * 0.05) };
}

/** A model of nothing but initializers: delivery never looks at more. */
export const network = (layers: readonly Layer[]): Uint8Array =>
  encodeOnnx(
    create(ModelProtoSchema, {
      irVersion: 8n,
      opsetImport: [create(OperatorSetIdProtoSchema, { version: 17n })],
      graph: create(GraphProtoSchema, {
        name: 'generated',
        initializer: layers.map(({ name, weights }) =>
          create(TensorProtoSchema, {
            name,
            dataType: 1,
            dims: [BigInt(weights.length)],
            rawData: new Uint8Array(weights.buffer, weights.byteOffset, weights.byteLength),
          }),
        ),
      }),
    }),
  );
