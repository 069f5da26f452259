import type { Datatype } from '@drover/shared/manifest';
import { Datatype as DatatypeSchema } from '@drover/shared/manifest';
import { encodeOnnx, graph, model, node, valueInfo } from '@drover/shared/onnx';
import { emptyTensor, toBytes } from '../../src/serve/tensors/tensor.js';
import type { InstalledModel } from '../../src/update/ports.js';
import { install } from './installed-classifier.js';

export const DATATYPES: readonly Datatype[] = DatatypeSchema.enum;

export const inputOf = (datatype: Datatype): string => `in-${datatype}`;
export const outputOf = (datatype: Datatype): string => `out-${datatype}`;

/** Gives back what it gets, whatever the shape [rows, columns]. */
export function installIdentity(directory: string, datatypes: readonly Datatype[]): InstalledModel {
  const shape = ['n', 'm'];
  const bytes = encodeOnnx(
    model({
      opset: 17,
      graph: graph({
        name: 'identity',
        inputs: datatypes.map((datatype) => valueInfo(inputOf(datatype), datatype, shape)),
        outputs: datatypes.map((datatype) => valueInfo(outputOf(datatype), datatype, shape)),
        nodes: datatypes.map((datatype) => node('Identity', [inputOf(datatype)], [outputOf(datatype)])),
      }),
    }),
  );
  const golden = (name: (datatype: Datatype) => string) =>
    datatypes.map((datatype) => ({
      name: name(datatype),
      datatype,
      shape: [1, 2],
      bytes: new Uint8Array(toBytes(emptyTensor(datatype, [1, 2]))),
    }));
  const signature = (name: (datatype: Datatype) => string) =>
    datatypes.map((datatype) => ({ name: name(datatype), datatype, shape: [-1, -1] }));
  return install(
    bytes,
    [{ inputs: golden(inputOf), outputs: golden(outputOf) }],
    { directory, manifest: { task: { type: 'tensors' } } },
    { inputs: signature(inputOf), outputs: signature(outputOf) },
  );
}
