import { Command } from 'commander';
import { encodeGoldenVectors } from '@drover/shared/manifest';
import { formatCodedError } from '@drover/shared/coded-error';
import { CliError } from '../errors.js';
import { readFile, writeBytes, writeJson } from '../files.js';
import type { Session } from '../program.js';
import type { Examination } from '../release-builder/examine.js';
import { formatBytes, formatTable } from '../terminal.js';

export const modelCheckCommand = ({ answer }: Session): Command =>
  new Command('check')
    .description('Say what an agent will do with an ONNX model; needs no control plane.')
    .argument('<onnx>', 'the model file')
    .option('--fix <file>', 'write the model with all that can be mended')
    .option('--samples <file>', 'normal inputs, as for publishing: what --contract-out and --golden-out are made of')
    .option(
      '--contract-out <file>',
      'write a contract that the samples keep, to look over and to publish with --contract',
    )
    .option('--golden-out <file>', 'write golden vectors: samples with the answers of this machine')
    .addHelpText(
      'after',
      '\nExamples:\n  drover model check net.onnx\n  drover model check sklearn.onnx --fix fixed.onnx' +
        '\n  drover model check net.onnx --samples normal.csv --contract-out contract.json',
    )
    .action(async (onnx: string, options: CheckOptions) => {
      const { fix } = options;
      demandSamples(options);
      const { examineModel } = await import('../release-builder/examine.js');
      const { fixed, ...found } = await examineModel(readFile(onnx));
      if (fix !== undefined && fixed) writeBytes(fix, fixed);
      const advice = adviceOn(found, fix !== undefined);
      const written = found.problem ? [] : await writeMade(onnx, options);
      answer(
        { ...found, advice, ...(fix !== undefined && fixed ? { fixed: fix } : {}), written },
        [inWords(found, advice), ...written.map((file) => `Wrote ${file}.`)].join('\n'),
      );
      if (!found.problem) return;
      throw new CliError('CLI_MODEL_FAILED', 'This model cannot be published as it is.', {
        where: onnx,
        remedy: found.problem.remedy,
      });
    });

interface CheckOptions {
  readonly fix?: string;
  readonly samples?: string;
  readonly contractOut?: string;
  readonly goldenOut?: string;
}

function demandSamples({ samples, contractOut, goldenOut }: CheckOptions): void {
  if ((samples === undefined) === (contractOut === undefined && goldenOut === undefined)) return;
  throw new CliError('CLI_USAGE', '--samples goes with --contract-out, --golden-out or both.', {
    remedy: 'Name the samples and what is to be made of them.',
  });
}

/** @returns the files that were written */
async function writeMade(onnx: string, { samples: from, contractOut, goldenOut }: CheckOptions): Promise<string[]> {
  if (from === undefined) return [];
  const [{ loadModel }, { readSamples }, { makeGoldenVectors, sampleInput }, { deriveContract }] = await Promise.all([
    import('../release-builder/model-run.js'),
    import('../release-builder/samples.js'),
    import('../release-builder/golden.js'),
    import('../input-contract/derive.js'),
  ]);
  const samples = readSamples(from);
  const model = await loadModel(readFile(onnx));
  try {
    const { name } = sampleInput(model, samples);
    if (contractOut !== undefined) writeJson(contractOut, deriveContract(name, samples), { replace: true });
    if (goldenOut !== undefined) writeBytes(goldenOut, encodeGoldenVectors(await makeGoldenVectors(model, samples)));
  } finally {
    await model.close();
  }
  return [contractOut, goldenOut].filter((file) => file !== undefined);
}

function adviceOn(found: Omit<Examination, 'fixed'>, isFixed: boolean): string[] {
  const { zipMaps, initializerInputs, hasBatchAxis, likelyStates } = found;
  const asStates = likelyStates.map(({ input, output }) => `--state ${input}=${output}`).join(' ');
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
    ...(asStates === ''
      ? []
      : [
          `Some outputs look like states that go back in with the next request. If so, publish with ${asStates}: the agent then keeps them for each sequence, and clients neither send nor get them.`,
        ]),
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
    taskInWords(found.task),
    ran,
    'GPU providers (TensorRT, CUDA) are tried on the device: `drover-agent doctor` tells which a run proved.',
    ...advice.map((line) => `! ${line}`),
    ...(problem ? [formatCodedError(problem)] : []),
  ].join('\n');
}

function taskInWords({ type, possible }: Examination['task']): string {
  const known = type === 'tensors' ? 'as plain tensors, unless you name another task' : `for ${type}`;
  const others = possible
    .filter(({ task }) => task !== type)
    .map(({ task, options }) => (options.length === 0 ? task : `${task} (with ${options.join(', ')})`));
  const fits = others.length === 0 ? '' : ` Its outputs also fit --task: ${others.join('; ')}.`;
  return `It is published ${known}: by the task outputs are read and compared.${fits}`;
}
