import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GoldenVector } from '@drover/shared/manifest';
import { seededRandom } from '@drover/shared/statistics';
import { agreement, decoderFor, type Task } from '@drover/shared/task';
import { InferenceSession } from 'onnxruntime-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toTensors } from '../../src/serve/session/golden-check.js';
import { readGoldenVectors, selfTest } from '../../src/serve/session/golden.js';
import type { SessionOptions } from '../../src/serve/session/model-session.js';
import { openSession } from '../../src/serve/session/session.js';
import { toBytes, type TensorMap } from '../../src/serve/tensors/tensor.js';
import { install } from './installed-classifier.js';

const data = join(
  process.env['DROVER_DATA_DIR'] ?? new URL('../../../../shared/data', import.meta.url).pathname,
  'face-detection',
);
const SHAPE = [1, 3, 240, 320] as const;
const signature = {
  inputs: [{ name: 'input', datatype: 'FP32', shape: [...SHAPE] }],
  outputs: [
    { name: 'scores', datatype: 'FP32', shape: [1, 4420, 2] },
    { name: 'boxes', datatype: 'FP32', shape: [1, 4420, 4] },
  ],
} as const;
const signatureOf = () => structuredClone(signature) as unknown as Parameters<typeof install>[3];

/** Noise holds no faces; at this threshold the net sees some all the same. */
const task: Task = {
  type: 'detection',
  labels: ['background', 'face'],
  detection: {
    boxes: 'boxes',
    scores: 'scores',
    format: 'xyxy',
    coordinates: 'normalised',
    scoreThreshold: 0.03,
    background: 0,
    maxOverlap: 0.3,
    maxBoxes: 100,
  },
};

describe.skipIf(!existsSync(data))('real face detectors (set DROVER_DATA_DIR; skipped where absent)', () => {
  const directory = mkdtempSync(join(tmpdir(), 'drover-faces-'));
  const golden: GoldenVector[] = [];
  const decoder = decoderFor(task, signatureOf().outputs);
  const modelFile = (name: string) => readFileSync(join(data, name));
  const installed = (contract = {}) =>
    install(
      modelFile('version-RFB-320.onnx'),
      golden,
      {
        directory,
        manifest: { task, contract: { perHardwareClass: [], parity: { absolute: 1e-4, relative: 1e-4 }, ...contract } },
      },
      signatureOf(),
    );
  const answers: TensorMap[] = [];

  beforeAll(async () => {
    const random = seededRandom(5);
    for (let index = 0; index < 2; index++) {
      // Blocks of 20 × 20 pixels of one brightness: what such nets take for shapes.
      const blocks = Array.from({ length: 12 * 16 }, () => 2 * random.next() - 1);
      const pixels = Float32Array.from({ length: 3 * 240 * 320 }, (_, at) => {
        const [row, column] = [Math.floor((at % (240 * 320)) / 320), at % 320];
        return blocks[16 * Math.floor(row / 20) + Math.floor(column / 20)] ?? 0;
      });
      golden.push({
        inputs: [{ ...signature.inputs[0], shape: SHAPE, bytes: new Uint8Array(pixels.buffer) }],
        outputs: [],
      });
    }
    const { session } = await openSession(installed(), { providers: ['cpu'] });
    for (const vector of golden) answers.push(await session.run(toTensors(vector.inputs)));
    await session.close();
    golden.forEach((vector, index) => {
      const outputs = signature.outputs.map((each) => {
        const tensor = answers[index]?.[each.name];
        if (!tensor) throw new Error(`no ${each.name}`);
        return { ...each, bytes: new Uint8Array(toBytes(tensor)) };
      });
      golden[index] = { ...vector, outputs };
    });
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  /** The CPU under another name, with every corner of a box moved by so much of the image. */
  const movedBy =
    (shift: number): NonNullable<SessionOptions['createNative']> =>
    async (file, options) => {
      const native = await InferenceSession.create(file, { ...options, executionProviders: ['cpu'] });
      const run = native.run.bind(native) as (...given: unknown[]) => Promise<InferenceSession.ReturnType>;
      native.run = async (...given: unknown[]) => {
        const results = await run(...given);
        const corners = results['boxes']?.data as Float32Array;
        for (let index = 0; index < corners.length; index++) corners[index] = (corners[index] ?? 0) + shift;
        return results;
      };
      return native;
    };
  const testMoved = async (shift: number, contract = {}) => {
    const model = installed(contract);
    const { session, provider } = await openSession(model, { providers: ['cuda'], createNative: movedBy(shift) });
    try {
      const { actual } = provider;
      return await selfTest(session, model, await readGoldenVectors(model), {
        hardwareClass: 'generic',
        provider: actual,
      });
    } finally {
      await session.close();
    }
  };

  it('are decoded to few boxes within the image, none of which overlap much', () => {
    for (const outputs of answers) {
      const decoded = decoder.decode(outputs);
      const boxes = decoded.kind === 'detection' ? (decoded.images[0] ?? []) : [];
      expect(boxes.length).toBeGreaterThan(0);
      expect(boxes.length).toBeLessThanOrEqual(100);
      for (const box of boxes) {
        expect(box.class).toBe(1);
        expect(box.score).toBeGreaterThanOrEqual(0.03);
        expect(Math.max(box.x2 - box.x1, box.y2 - box.y1)).toBeLessThan(1.5);
      }
    }
  });

  it('when a provider moves their boxes a little, pass by the measure of their task; far, they do not', async () => {
    const { agreement: decided, worstDifference } = await testMoved(2e-3);
    expect(decided).toMatchObject({ measure: 'box-f1', value: 1 });
    expect(worstDifference).toBeCloseTo(2e-3, 4);
    await expect(testMoved(0.5)).rejects.toMatchObject({
      code: 'PROVIDER_UNAVAILABLE',
      message: expect.stringMatching(/cuda: .*by box-f1 0(\.\d+)? of \d+ agree/) as unknown,
    });
  });

  it('when another net takes the place of the one, say how far the two agree', async () => {
    const [vector] = golden;
    if (!vector) throw new Error('no golden vector');
    const slim = install(
      modelFile('version-slim-320.onnx'),
      [{ ...vector, outputs: [] }],
      { directory, manifest: { task } },
      signatureOf(),
    );
    const { session } = await openSession(slim, { providers: ['cpu'] });
    const outputs = await session.run(toTensors(vector.inputs));
    await session.close();
    const measured = agreement(decoder.decode(answers[0] ?? {}), decoder.decode(outputs), {
      tolerance: { absolute: 0, relative: 0 },
    });
    expect(measured.value).toBeLessThan(1);
    expect(measured.details['actual']).toBeGreaterThan(0);
    expect(measured.compared).toBe((measured.details['expected'] ?? 0) + (measured.details['actual'] ?? 0));
  });
});
