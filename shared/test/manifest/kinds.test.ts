import { describe, expect, it } from 'vitest';
import { ModelName } from '../../src/ids/index.js';
import {
  AGENT_MODEL,
  kindOf,
  orderKindOf,
  parametersOf,
  parseRelease,
  RELEASE_FORMAT,
  releaseLineOf,
  trialOf,
} from '../../src/manifest/index.js';

const model = ModelName('gas-classifier');

describe('the name in an order', () => {
  it.each([
    [model, 'model', model],
    [AGENT_MODEL, 'agent', AGENT_MODEL],
    [parametersOf(model), 'parameters', parametersOf(model)],
    [trialOf(model), 'trial', model],
    [ModelName('m--trials'), 'model', ModelName('m--trials')],
  ])('when it is %s, says the kind %s, and that a release of %s is meant', (name, kind, line) => {
    expect([orderKindOf(name), releaseLineOf(name)]).toEqual([kind, line]);
  });

  it('when it is that of a trial, still names a model where its release is looked for', () => {
    expect(kindOf(releaseLineOf(trialOf(model)))).toBe('model');
    expect(kindOf(releaseLineOf(trialOf(AGENT_MODEL)))).toBe('agent');
  });

  it('when a model has a name that leaves no room for a trial, is refused', () => {
    expect(() => trialOf(ModelName('m'.repeat(60)))).toThrow(expect.objectContaining({ code: 'ID_INVALID' }) as Error);
  });
});

it('when a release is named like a trial, it is refused', () => {
  const digest = `sha256:${'0'.repeat(64)}`;
  const file = { path: 'model.onnx', digest, bytes: 1 };
  const tensor = (name: string) => ({ name, datatype: 'FP32', shape: [1] });
  const signature = { inputs: [tensor('x')], outputs: [tensor('y')] };
  const manifest = {
    format: RELEASE_FORMAT,
    version: '1.0.0',
    createdAt: '2026-01-01T00:00:00Z',
    task: { type: 'tensors' },
    variants: [{ name: 'v', hardwareClasses: ['*'], precision: 'fp32', model: file, signature }],
    assets: [],
    contract: { perHardwareClass: [], parity: { absolute: 0, relative: 0 } },
    goldenVectors: file,
    lineage: { data: [] },
  };
  const parse = (name: string) => parseRelease(Buffer.from(JSON.stringify({ ...manifest, model: name })));
  expect(parse('gas-classifier').model).toBe('gas-classifier');
  expect(() => parse('gas-classifier--trial')).toThrow(/reserved for trials/);
});
