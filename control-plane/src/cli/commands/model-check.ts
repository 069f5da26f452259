import { Command } from 'commander';
import { formatCodedError } from '@drover/shared/coded-error';
import { CliError } from '../errors.js';
import { readFile, writeBytes } from '../files.js';
import type { Session } from '../program.js';
import type { Examination } from '../release-builder/examine.js';
import { formatBytes, formatTable } from '../terminal.js';

export const modelCheckCommand = ({ answer }: Session): Command =>
  new Command('check')
    .description('Say what an agent will do with an ONNX model; needs no control plane.')
    .argument('<onnx>', 'the model file')
    .option('--fix <file>', 'write the model with all that can be mended')
    .addHelpText(
      'after',
      '\nExamples:\n  drover model check net.onnx\n  drover model check sklearn.onnx --fix fixed.onnx',
    )
    .action(async (onnx: string, { fix }: { readonly fix?: string }) => {
      const { examineModel } = await import('../release-builder/examine.js');
      const { fixed, ...found } = await examineModel(readFile(onnx));
      if (fix !== undefined && fixed) writeBytes(fix, fixed);
      const advice = adviceOn(found, fix !== undefined);
      answer({ ...found, advice, ...(fix !== undefined && fixed ? { fixed: fix } : {}) }, inWords(found, advice));
      if (!found.problem) return;
      throw new CliError('CLI_MODEL_FAILED', 'This model cannot be published as it is.', {
        where: onnx,
        remedy: found.problem.remedy,
      });
    });

function adviceOn(found: Omit<Examination, 'fixed'>, isFixed: boolean): string[] {
  const { zipMaps, initializerInputs, hasBatchAxis } = found;
  const fix = 'Mended in the file that was written.';
  return [
    ...zipMaps.map(
      ({ output, labels }) =>
        `"${output}" is a list of maps (ZipMap), which cannot be served. Publishing makes it a tensor with one score for each of: ${labels.join(', ')}. ${isFixed ? fix : 'A model that somebody signed is published as it is: mend it before with --fix FILE.'}`,
    ),
    ...(initializerInputs.length > 0
      ? [
          `${initializerInputs.length} weights are inputs too, so that the runtime could neither fold nor pack them, and would run slower. ${isFixed ? fix : 'Publishing takes them out, unless somebody signed the model.'}`,
        ]
      : []),
    ...(hasBatchAxis
      ? []
      : [
          'Some input or output has no variable first axis: every request is a run of its own. Export it with a variable batch axis where several applications ask at once.',
        ]),
  ];
}

function inWords(found: Omit<Examination, 'fixed'>, advice: readonly string[]): string {
  const { description, bytes, run, problem } = found;
  const tensors = [
    ...description.inputs.map((tensor) => ['input', tensor] as const),
    ...description.outputs.map((tensor) => ['output', tensor] as const),
  ].map(([side, { name, dtype, shape }]) => [side, name, dtype, `[${shape.join(', ')}]`]);
  const ran = run
    ? `It runs on the CPU: ${run.medianMs.toFixed(2)} ms (median, this machine), about ${run.memoryMiB.toFixed(0)} MiB.`
    : 'It does not run.';
  return [
    `${formatBytes(bytes)}, ${description.parameters.toLocaleString('en')} parameters, operator set ${description.opset}, IR version ${description.irVersion}`,
    formatTable(['', 'NAME', 'TYPE', 'SHAPE (-1: any)'], tensors),
    `Operators: ${description.operators.join(', ')}`,
    ran,
    'GPU providers (TensorRT, CUDA) are tried on the device: `drover-agent doctor` tells which a run proved.',
    ...advice.map((line) => `! ${line}`),
    ...(problem ? [formatCodedError(problem)] : []),
  ].join('\n');
}
