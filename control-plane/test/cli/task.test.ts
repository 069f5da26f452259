import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Datatype } from '@drover/shared/manifest';
import { encodeOnnx, floatTensor, graph, model, node, valueInfo } from '@drover/shared/onnx';
import { afterAll, describe, expect, it } from 'vitest';
import { CliError } from '../../src/cli/errors.js';
import { buildRelease } from '../../src/cli/release-builder/build.js';
import { examineModel } from '../../src/cli/release-builder/examine.js';
import {
  demandTask,
  possibleTasks,
  type TaskEvidence,
  type TaskGiven,
} from '../../src/cli/release-builder/task/index.js';

const directory = mkdtempSync(join(tmpdir(), 'drover-task-'));
afterAll(() => rmSync(directory, { recursive: true }));

const output = (name: string, shape: number[], datatype: Datatype = 'FP32') => ({ name, datatype, shape });
const evidence = (outputs: TaskEvidence['outputs'], ...operators: string[]): TaskEvidence => ({ outputs, operators });
const failure = (act: () => unknown): CliError => {
  try {
    act();
  } catch (error) {
    if (error instanceof CliError) return error;
    throw error;
  }
  throw new Error('nothing was asked');
};
const SCORES = evidence([output('probabilities', [-1, 3])]);
const BOXES = evidence([output('scores', [1, 4420, 2]), output('boxes', [1, 4420, 4])]);

describe('when nothing is said of the task', () => {
  it.each<[string, TaskEvidence, object]>([
    ['a net', SCORES, { type: 'tensors' }],
    [
      'a classifier of scikit-learn',
      evidence([output('label', [-1], 'INT64'), output('p', [-1, 3])], 'ai.onnx.ml.TreeEnsembleClassifier'),
      { type: 'classification', scores: 'p' },
    ],
    [
      'a regressor of LightGBM',
      evidence([output('variable', [-1, 1])], 'Identity', 'ai.onnx.ml.TreeEnsembleRegressor'),
      { type: 'regression', regression: { outputs: ['variable'] } },
    ],
    [
      'an isolation forest, which is made of regressors too',
      evidence([output('label', [-1, 1], 'INT64'), output('scores', [-1, 1])], 'ai.onnx.ml.TreeEnsembleRegressor'),
      { type: 'tensors' },
    ],
  ])('reads %s as what is certain', (_, found, task) => {
    expect(demandTask({}, found)).toEqual(task);
  });
});

describe('when something is said of the task', () => {
  it.each<[string, TaskGiven, TaskEvidence, object]>([
    [
      'labels',
      { labels: ['a', 'b', 'c'] },
      SCORES,
      { type: 'classification', scores: 'probabilities', labels: ['a', 'b', 'c'] },
    ],
    [
      'labels of an image classifier',
      { labels: ['a', 'b', 'c'] },
      evidence([output('y', [1, 3, 1, 1])]),
      { type: 'classification', scores: 'y', labels: ['a', 'b', 'c'] },
    ],
    [
      'boxes, of a model that suppresses by itself and scores each once',
      { boxFormat: 'xyxy', boxCoordinates: 'pixels', labels: ['__background__', 'car'] },
      evidence([output('b', [-1, 4]), output('s', [-1]), output('c', [-1], 'INT64')], 'NonMaxSuppression'),
      {
        type: 'detection',
        labels: ['__background__', 'car'],
        detection: {
          boxes: 'b',
          scores: 's',
          classes: 'c',
          format: 'xyxy',
          coordinates: 'pixels',
          scoreThreshold: 0.5,
          background: 0,
          maxBoxes: 100,
        },
      },
    ],
    [
      'boxes, with a background by its label',
      {
        boxFormat: 'cxcywh',
        boxCoordinates: 'normalised',
        maxOverlap: 0.3,
        background: 'face',
        scoreThreshold: 0.7,
        maxBoxes: 9,
        labels: ['no', 'face'],
      },
      BOXES,
      {
        type: 'detection',
        labels: ['no', 'face'],
        detection: {
          boxes: 'boxes',
          scores: 'scores',
          format: 'cxcywh',
          coordinates: 'normalised',
          scoreThreshold: 0.7,
          background: 1,
          maxOverlap: 0.3,
          maxBoxes: 9,
        },
      },
    ],
    [
      'pixels with channels first',
      { task: 'segmentation' },
      evidence([output('out', [1, 21, 520, 520])]),
      { type: 'segmentation', segmentation: { output: 'out', holds: 'scores', channels: 'first' } },
    ],
    [
      'pixels with one score',
      { task: 'segmentation', threshold: 0 },
      evidence([output('out', [1, 64, 64, 1])]),
      { type: 'segmentation', segmentation: { output: 'out', holds: 'scores', channels: 'last', threshold: 0 } },
    ],
    [
      'pixels with classes',
      { task: 'segmentation' },
      evidence([output('out', [1, 64, 64], 'INT64')]),
      { type: 'segmentation', segmentation: { output: 'out', holds: 'classes' } },
    ],
    [
      'a unit',
      { unit: 'kPa', scale: 0.1 },
      evidence([output('y', [-1, 1])]),
      { type: 'regression', regression: { outputs: ['y'], unit: 'kPa', scale: 0.1 } },
    ],
    [
      'a side of the threshold',
      { anomalous: 'below', threshold: 0 },
      evidence([output('label', [-1, 1], 'INT64'), output('scores', [-1, 1])]),
      { type: 'anomaly', anomaly: { score: 'scores', threshold: 0, anomalous: 'below' } },
    ],
  ])('reads it with %s', (_, given, found, task) => {
    expect(demandTask(given, found)).toEqual(task);
  });
});

describe('when a model does not tell what its task needs', () => {
  it.each<[TaskGiven, TaskEvidence, string[]]>([
    [{ task: 'detection' }, BOXES, ['--box-format', '--box-coordinates', '--max-overlap']],
    [{ task: 'detection' }, SCORES, ['--boxes']],
    [{ task: 'detection' }, evidence([output('b', [1, 9, 4]), output('s', [1, 9]), output('c', [1, 9])]), ['--scores']],
    [{ task: 'segmentation' }, evidence([output('y', [1, 9, 9, 9])]), ['--pixel-channels']],
    [{ task: 'segmentation' }, evidence([output('y', [1, 1, 9, 9])]), ['--threshold']],
    [{ task: 'regression' }, BOXES, ['--values']],
    [{ task: 'anomaly' }, evidence([output('y', [-1])]), ['--threshold', '--anomalous']],
    [{ task: 'classification' }, BOXES, ['--scores']],
  ])('asks for all of it by the options, for %j', (given, found, options) => {
    const { code, remedy } = failure(() => demandTask(given, found));
    expect(code).toBe('CLI_TASK_UNCLEAR');
    expect(remedy.match(/--[a-z-]+/g)).toEqual([...options, '--task']);
  });

  it('refuses options of another task, and labels of what has no classes', () => {
    expect(failure(() => demandTask({ task: 'anomaly', boxes: 'b' }, BOXES))).toMatchObject({
      code: 'CLI_USAGE',
      message: '--boxes is for detection, and the task is anomaly.',
    });
    expect(failure(() => demandTask({ unit: 'K', labels: ['a', 'b'] }, SCORES)).message).toMatch(
      /^--labels is for class/,
    );
    expect(failure(() => demandTask({ scores: 'x' }, SCORES)).message).toContain('the task is tensors');
  });
});

describe('when somebody asks what a model could be published as', () => {
  it('names the tasks that its outputs fit, and what they need to be told', () => {
    expect(possibleTasks(BOXES)).toEqual([
      {
        task: 'detection',
        options: [
          '--box-format <xyxy|yxyx|xywh|cxcywh>',
          '--box-coordinates <normalised|pixels>',
          '--max-overlap <iou|none>',
        ],
      },
    ]);
    expect(possibleTasks(SCORES).map(({ task }) => task)).toEqual(['classification', 'regression']);
  });
});

const release = (modelFile: string, given: TaskGiven) => {
  const notes: string[] = [];
  const built = buildRelease({
    modelFile,
    model: 'm',
    version: '1.0.0',
    createdAt: new Date(0),
    hardwareClasses: ['*'],
    parity: { absolute: 1e-3, relative: 1e-3 },
    agreement: 0.9,
    drift: { windowSize: 200, falseAlarmsPerWindow: 0.001, confirmWindows: 2, seed: 1 },
    onNote: (line) => void notes.push(line),
    ...given,
  });
  return built.then(({ manifest }) => ({ manifest, notes }));
};

describe('when a release is made', () => {
  it('reads what the model answers to the golden vectors as its task says, and refuses what does not fit', async () => {
    const modelFile = join(directory, 'sum.onnx');
    const sum = graph({
      name: 'sum',
      inputs: [valueInfo('x', 'FP32', ['n', 3])],
      outputs: [valueInfo('y', 'FP32', ['n', 1])],
      initializers: [floatTensor('w', [3, 1], Float32Array.of(1, 1, 1))],
      nodes: [node('MatMul', ['x', 'w'], ['y'])],
    });
    writeFileSync(modelFile, encodeOnnx(model({ opset: 17, graph: sum })));
    const { manifest } = await release(modelFile, { threshold: 2, anomalous: 'above' });
    expect(manifest.task.anomaly).toEqual({ score: 'y', threshold: 2, anomalous: 'above' });
    expect(manifest.contract.agreement).toBe(0.9);
    await expect(release(modelFile, { values: ['z'] })).rejects.toMatchObject({ code: 'TASK_UNFIT' });
  });
});

const data = process.env['DROVER_DATA_DIR'] ?? new URL('../../../../shared/data', import.meta.url).pathname;

describe.skipIf(!existsSync(data))('real models (set DROVER_DATA_DIR; skipped where absent)', () => {
  it('when a face detector is published, the class for nothing is asked for, and noise is said to hold no faces', async () => {
    const faces = join(data, 'face-detection/version-RFB-320.onnx');
    const given: TaskGiven = { boxFormat: 'xyxy', boxCoordinates: 'normalised', maxOverlap: 0.3, scoreThreshold: 0.7 };
    await expect(release(faces, given)).rejects.toMatchObject({
      code: 'CLI_TASK_UNCLEAR',
      remedy: expect.stringContaining('--background <class|none>') as unknown,
    });
    const { manifest, notes } = await release(faces, { ...given, labels: ['background', 'face'] });
    expect(manifest.task.detection).toMatchObject({ boxes: 'boxes', scores: 'scores', background: 0, maxOverlap: 0.3 });
    expect(notes).toContainEqual(expect.stringContaining('detects nothing in any golden vector'));
  }, 60_000);

  it('when they are checked, their tasks are found', async () => {
    const possible = async (file: string) =>
      (await examineModel(readFileSync(join(data, file)))).task.possible.map(({ task }) => task);
    expect(await possible('face-detection/version-RFB-320.onnx')).toEqual(['detection']);
    expect(await possible('mnist/mnist.onnx')).toEqual(['classification', 'regression']);
    expect(await possible('onnx-light/light_squeezenet.onnx')).toEqual(['classification', 'regression']);
  }, 60_000);
});
