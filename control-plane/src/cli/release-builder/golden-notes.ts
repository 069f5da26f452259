import type { GoldenVector } from '@drover/shared/manifest';
import { agreement, decoderFor, type Task } from '@drover/shared/task';
import { fromBytes, type TensorMap, type TensorSignature } from '@drover/shared/tensors';

const EXACT = { tolerance: { absolute: 0, relative: 0 } };

/** Reads what the model answered to the golden vectors as its task says, as devices will. @throws TaskError TASK_UNFIT, TASK_OUTPUT_UNFIT */
export function notesOnGolden(
  task: Task,
  outputs: readonly TensorSignature[],
  vectors: readonly GoldenVector[],
): string[] {
  const decoder = decoderFor(task, outputs);
  const compared = vectors.map((vector) => {
    const decoded = decoder.decode(toTensors(vector));
    return agreement(decoded, decoded, EXACT).compared;
  });
  if (decoder.kind !== 'detection' || compared.some((count) => count > 0)) return [];
  return [
    'The model detects nothing in any golden vector: devices can only hold its numbers against each other, one by one, within --tolerance.',
  ];
}

const toTensors = ({ outputs }: GoldenVector): TensorMap =>
  Object.fromEntries(
    outputs.flatMap(({ name, datatype, shape, bytes }) => {
      const tensor = fromBytes(datatype, shape, bytes);
      return tensor ? [[name, tensor]] : [];
    }),
  );
