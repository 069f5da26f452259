import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { digestOf, Version } from '@drover/shared/ids';
import { encodeLabelledSamples, type GoldenVector, type Manifest, type Recipe } from '@drover/shared/manifest';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { buildDenseClassifier, train, type Examples } from '../../src/learn/index.js';
import type { InstalledModel } from '../../src/update/ports.js';
import { install } from '../serve/installed-classifier.js';
import { clouds } from './synthetic.js';

const FEATURES = 8;
const CLASSES = 3;
/** Where the world has drifted to: the model was trained around 0. */
export const DRIFT = { shift: 2, distance: 3 };

export const recipe: Recipe = {
  optimizer: 'adam',
  learningRate: 0.01,
  momentum: 0.9,
  weightDecay: 0,
  batchSize: 32,
  epochs: 30,
  replayShare: 0.5,
  trainable: [],
  adaptation: 'auto',
  bounds: { minLabelled: 100, holdoutShare: 0.5, minImprovement: 0.02, maxForgetting: 0.05, alpha: 0.05 },
};

export type RecipeChange = Partial<Omit<Recipe, 'bounds'>> & { readonly bounds?: Partial<Recipe['bounds']> };

/** A classifier that was really trained on undrifted clouds, with anchor and replay sets, golden vectors and a recipe. */
export async function tunableRelease(directory: string): Promise<InstalledModel> {
  const { model } = await train({
    model: buildDenseClassifier({ features: FEATURES, hidden: [16], classes: CLASSES, seed: 1 }),
    examples: clouds({ count: 400 }),
    recipe: { optimizer: 'adam', learningRate: 0.01, batchSize: 32, duration: { epochs: 30 }, seed: 3 },
    signal: new AbortController().signal,
  });
  mkdirSync(directory, { recursive: true });
  const asset = (kind: 'anchor' | 'replay', examples: Examples) => {
    const bytes = encodeLabelledSamples(examples);
    writeFileSync(join(directory, `${kind}.bin`), bytes);
    return { kind, file: { path: `${kind}.bin`, digest: digestOf(bytes), bytes: bytes.length } };
  };
  const assets = [asset('replay', clouds({ count: 200, seed: 22 })), asset('anchor', clouds({ count: 400, seed: 24 }))];
  return install(
    model,
    [await goldenVector(model)],
    { directory, manifest: { recipe, assets, task: { type: 'classification', scores: 'probabilities' } } },
    {
      inputs: [{ name: 'features', datatype: 'FP32', shape: [-1, FEATURES] }],
      outputs: [
        { name: 'logits', datatype: 'FP32', shape: [-1, CLASSES] },
        { name: 'probabilities', datatype: 'FP32', shape: [-1, CLASSES] },
      ],
    },
  );
}

async function goldenVector(model: Uint8Array): Promise<GoldenVector> {
  const session = await InferenceSession.create(model);
  const values = clouds({ count: 2, seed: 5 }).features;
  const outputs = await session.run({ features: new Tensor('float32', values, [2, FEATURES]) });
  await session.release();
  const tensor = (name: string, data: Float32Array, width: number) =>
    ({ name, datatype: 'FP32', shape: [2, width], bytes: new Uint8Array(data.slice().buffer) }) as const;
  return {
    inputs: [tensor('features', values, FEATURES)],
    outputs: ['logits', 'probabilities'].map((name) => tensor(name, outputs[name]?.data as Float32Array, CLASSES)),
  };
}

export const withRecipe = (model: InstalledModel, { bounds, ...change }: RecipeChange): InstalledModel =>
  withManifest(model, { recipe: { ...recipe, ...change, bounds: { ...recipe.bounds, ...bounds } } });

export const withManifest = (model: InstalledModel, change: Partial<Manifest>): InstalledModel => ({
  ...model,
  manifest: { ...model.manifest, version: Version('1.0.0'), ...change },
});
