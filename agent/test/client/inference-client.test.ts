import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ModelName } from '@drover/shared/ids';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createInferenceClient, type InferenceClient, type TensorMap } from '../../src/client/index.js';
import { listenInference, type InferenceServer } from '../../src/serve/inline/index.js';
import { installClassifier } from '../serve/installed-classifier.js';
import { DATATYPES, inputOf, installIdentity, outputOf } from '../serve/installed-identity.js';
import { memoryRecorder } from '../serve/memory-recorder.js';
import { readTensor } from '../../src/serve/tensors/json.js';
import { testServing } from '../serve/test-serving.js';

const directory = mkdtempSync(join(tmpdir(), 'drover-client-'));
const socket = join(directory, 'inference.sock');
const recorder = memoryRecorder();
const serving = testServing(recorder);
let server: InferenceServer;
let client: InferenceClient;
const features: TensorMap = {
  features: { datatype: 'FP32', shape: [2, 4], data: Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8) },
};

beforeAll(async () => {
  const { signal } = new AbortController();
  await serving.activate(await installClassifier({ directory: join(directory, 'classifier') }), signal);
  const identity = installIdentity(join(directory, 'identity'), DATATYPES);
  await serving.activate({ ...identity, model: ModelName('identity') }, signal);
  server = await listenInference({ host: '127.0.0.1', port: 0, socket, models: serving, serverVersion: '0' });
  client = createInferenceClient({ url: `http://127.0.0.1:${server.port}` });
});
afterAll(async () => {
  client.close();
  await server.close();
  await serving.close();
  rmSync(directory, { recursive: true });
});

describe('the client for applications', () => {
  it('when a model is asked, gives typed outputs, the release that answered, and leaves the inputs to their owner', async () => {
    const answer = await client.infer('classifier', features, { id: 'a', outputs: ['probabilities'], priority: 1 });
    expect(answer).toMatchObject({ id: 'a', version: '1.0.0' });
    expect(Object.keys(answer.outputs)).toEqual(['probabilities']);
    const { shape, data } = answer.outputs['probabilities'] ?? {};
    expect([shape, data instanceof Float32Array]).toEqual([[2, 3], true]);
    expect(features['features']?.data).toHaveLength(8);
    expect(await client.feedback('classifier', 'a', [0, null])).toMatchObject({ joined: 1, repeated: 0, gone: 0 });
    expect(recorder.labels).toMatchObject([{ requestId: 'a', labels: [0, null] }]);
    recorder.outcome = { rows: 0, joined: 0, repeated: 0, conflicting: 0, gone: 2 };
    await expect(client.feedback('classifier', 'b', [0, 1])).rejects.toMatchObject({
      code: 'INFERENCE_DENIED',
      agentCode: 'FEEDBACK_SAMPLE_GONE',
    });
    recorder.outcome = undefined;
  });

  it('when every datatype goes over the Unix socket, each comes back as it was', async () => {
    const local = createInferenceClient({ socketPath: socket });
    const values = (datatype: string): unknown[] =>
      datatype === 'BOOL' ? [true, false] : datatype === 'BYTES' ? ['', 'grün 🐑'] : [1, 2];
    const tensors = DATATYPES.map(
      (datatype) => [datatype, readTensor('x', datatype, [1, 2], values(datatype))] as const,
    );
    const inputs = Object.fromEntries(tensors.map(([datatype, tensor]) => [inputOf(datatype), tensor]));
    const { outputs } = await local.infer('identity', inputs);
    for (const [datatype, tensor] of tensors) expect(outputs[outputOf(datatype)]).toEqual(tensor);
    local.close();
  });

  it('when it asks about models, it says what is there', async () => {
    expect(await client.isReady('classifier')).toBe(true);
    expect(await client.isReady('classifier', '9.9.9')).toBe(false);
    expect(await client.metadata('classifier')).toMatchObject({ versions: ['1.0.0'], platform: 'onnx_onnxv1' });
    expect(await client.parameters('classifier')).toBeUndefined();
  });

  it('when the agent refuses, says why with the code of the agent', async () => {
    const refused = client.infer('classifier', {});
    await expect(refused).rejects.toMatchObject({ code: 'INFERENCE_DENIED', agentCode: 'REQUEST_INVALID' });
    await expect(client.infer('other', features)).rejects.toMatchObject({ agentCode: 'MODEL_NOT_SERVED' });
    await expect(client.feedback('other', 'a', [1])).rejects.toMatchObject({ agentCode: 'MODEL_NOT_SERVED' });
  });

  describe('when something else is at the address', () => {
    let other: Server;
    let say: string;
    beforeAll(async () => {
      other = createServer((_, response) => response.end(say));
      await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    });
    afterAll(() => void other.close());
    const wrong = () => createInferenceClient({ url: `http://127.0.0.1:${(other.address() as AddressInfo).port}` });

    it.each([
      '<html>',
      '{}',
      '{"model_version":"1","id":"a","outputs":[{"name":"y","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]}',
    ])('and answers %s, it says that this is no agent', async (text) => {
      say = text;
      const asking = wrong();
      await expect(asking.infer('m', features)).rejects.toMatchObject({ code: 'INFERENCE_ANSWER_UNREADABLE' });
      asking.close();
    });

    it('or nothing, it says that nobody answers, and a signal ends the wait', async () => {
      const nobody = createInferenceClient({ socketPath: join(directory, 'nobody.sock') });
      await expect(nobody.isReady('m')).rejects.toMatchObject({ code: 'INFERENCE_UNREACHABLE' });
      const gone = AbortSignal.abort(new Error('no more'));
      await expect(client.infer('classifier', features, { signal: gone })).rejects.toMatchObject({ code: 'INFERENCE_UNREACHABLE' }); // prettier-ignore
    });
  });
});
