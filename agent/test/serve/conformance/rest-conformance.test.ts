import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ModelName } from '@drover/shared/ids';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listenInference, type InferenceServer } from '../../../src/serve/inline/index.js';
import { installClassifier } from '../installed-classifier.js';
import { DATATYPES, inputOf, installIdentity } from '../installed-identity.js';
import { testServing } from '../test-serving.js';
import { operationsOf, type Operation } from './openapi.js';
import { readPublished, WITHOUT_PYTHON } from './published.js';

/** In the published documents, and no part of the protocol: MLServer's streams, and loading, which orders decide on a device. */
const NOT_SERVED = /^(model-(version-)?(inference-stream|generate(-stream)?)|load-model|model-unload)$/;
const MAX_BODY_BYTES = 100_000;

const published = readPublished();
const operations = (published?.openApis ?? []).flatMap(operationsOf);

describe.skipIf(!published)(`the published OpenAPI files of the protocol ${WITHOUT_PYTHON}`, () => {
  const directory = mkdtempSync(join(tmpdir(), 'drover-openapi-'));
  const serving = testServing();
  const exercised = new Set<string>();
  let server: InferenceServer;

  beforeAll(async () => {
    const { signal } = new AbortController();
    await serving.activate(await installClassifier({ directory: join(directory, 'classifier') }), signal);
    const identity = installIdentity(join(directory, 'identity'), DATATYPES);
    await serving.activate({ ...identity, model: ModelName('identity') }, signal);
    const options = { host: '127.0.0.1', port: 0, models: serving, serverVersion: '0.1.0' };
    server = await listenInference({ ...options, maxBodyBytes: MAX_BODY_BYTES });
  });
  afterAll(async () => {
    await server.close();
    await serving.close();
    rmSync(directory, { recursive: true });
  });

  const operation = (id: string): Operation => {
    const found = operations.find((each) => each.id === id);
    if (!found) throw new Error(`The published documents have no operation ${id}.`);
    return found;
  };
  /** Asks, and holds the status and the body of the answer against the document. */
  const ask = async (id: string, body?: unknown, { model = 'classifier', version = '1.0.0' } = {}) => {
    const { method, path, problemsOfResponse } = operation(id);
    const url = path.replace('{model_name}', model).replace('{model_version}', version);
    const response = await fetch(`http://127.0.0.1:${server.port}${url}`, {
      method,
      ...(method === 'POST' ? { body: JSON.stringify(body ?? {}) } : {}),
    });
    const answer = (await response.json()) as Record<string, unknown>;
    expect(response.headers.get('content-type')).toBe('application/json');
    expect(problemsOfResponse(response.status, answer), `${id} ${JSON.stringify(answer)}`).toEqual([]);
    exercised.add(id);
    return { status: response.status, answer };
  };
  const features = { name: 'features', datatype: 'FP32', shape: [2, 4], data: [1, 2, 3, 4, 5, 6, 7, 8] };

  it.each(['server-live', 'server-ready', 'model-ready', 'model-version-ready', 'server-metadata', 'model-metadata', 'model-version-metadata'])(
    'when %s is asked, the answer is as it says',
    async (id) => expect(await ask(id)).toMatchObject({ status: 200 }),
  ); // prettier-ignore

  it.each([
    ['model-metadata', { model: 'nothing' }],
    ['model-version-metadata', { version: '9.9.9' }],
  ])('when %s is asked about what is not there (%j), the refusal is as it says', async (id, place) => {
    expect(await ask(id, undefined, place)).toMatchObject({ status: 404 });
  });

  it('when the repository is asked for its index, request and answer are as it says', async () => {
    expect(operation('repository-index').problemsOfRequest({ ready: true })).toEqual([]);
    const { status, answer } = await ask('repository-index', { ready: true });
    expect([status, answer]).toMatchObject([200, { length: 2 }]);
  });

  describe.each(['model-inference', 'model-version-inference'])('%s', (id) => {
    it.each([
      [200, { inputs: [features] }],
      [200, { id: 'a', inputs: [features], outputs: [{ name: 'logits' }], parameters: { priority: 1, mine: [1] } }],
      [200, { inputs: [{ ...features, data: [[1, 2, 3, 4], [5, 6, 7, 8]], parameters: { content_type: 'np' } }] }],
      [400, { inputs: [] }],
      [400, { inputs: [{ ...features, shape: [2, 3] }] }],
      [400, { inputs: [{ ...features, datatype: 'INT64' }] }],
      [400, { inputs: [features], outputs: [{ name: 'nothing' }] }],
    ])('when a request is as it says, the answer is %i, as it says: %j', async (status, body) => {
      expect(operation(id).problemsOfRequest(body)).toEqual([]);
      expect(await ask(id, body)).toMatchObject({ status });
    }); // prettier-ignore

    it('when the model is unknown, the refusal is as it says', async () => {
      expect(await ask(id, { inputs: [features] }, { model: 'nothing' })).toMatchObject({ status: 404 });
    });

    it('when every datatype comes and goes, request and answer are as it says', async () => {
      const sample = { BOOL: [true, false], BYTES: ['a', 'b'] } as Partial<Record<string, unknown[]>>;
      const inputs = DATATYPES.map((datatype) => {
        return { name: inputOf(datatype), datatype, shape: [1, 2], data: sample[datatype] ?? [1, 2] };
      });
      expect(operation(id).problemsOfRequest({ inputs })).toEqual([]);
      const { status, answer } = await ask(id, { inputs }, { model: 'identity' });
      expect([status, answer['outputs']]).toMatchObject([200, inputs.map(({ data, datatype, shape }) => ({ data, datatype, shape }))]); // prettier-ignore
    });

    it('when anything that its schema allows is asked, the answer is one that it has, and no fault of ours', async () => {
      const parameters = fc.option(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 1 })), { nil: undefined });
      const tensor = fc.record({
        name: fc.oneof(fc.constant('features'), fc.string()),
        datatype: fc.oneof(fc.constant('FP32'), fc.constantFrom(...DATATYPES)),
        shape: fc.oneof(fc.constant([1, 4]), fc.array(fc.integer({ min: -2, max: 5 }), { maxLength: 4 })),
        data: fc.oneof(fc.constant([1, 2, 3, 4]), fc.array(fc.jsonValue({ maxDepth: 2 }))),
        parameters,
      });
      const outputs = fc.array(fc.record({ name: fc.constantFrom('logits', 'nothing'), parameters }), { maxLength: 3 });
      const request = fc.record(
        { id: fc.string(), parameters, inputs: fc.array(tensor, { maxLength: 2 }), outputs },
        { requiredKeys: ['inputs'] },
      );
      await fc.assert(
        fc.asyncProperty(request, async (body) => {
          const sent = JSON.parse(JSON.stringify(body)) as Record<string, unknown>;
          fc.pre(operation(id).problemsOfRequest(sent).length === 0);
          expect((await ask(id, sent)).status).toBeLessThan(500);
        }),
        { numRuns: 150 },
      );
    });
  });

  it('when a request is refused for a reason that the file does not have, the body is that of its errors', async () => {
    const url = `http://127.0.0.1:${server.port}/v2/models/classifier/infer`;
    const response = await fetch(url, { method: 'POST', body: 'x'.repeat(MAX_BODY_BYTES + 1) });
    expect(response.status).toBe(413);
    expect(operation('model-inference').problemsOfResponse(400, await response.json())).toEqual([]);
  });

  it('when all of this was asked, no operation was left out', () => {
    const promised = operations.map(({ id }) => id).filter((id) => !NOT_SERVED.test(id));
    expect([...exercised].sort()).toEqual(promised.sort());
  });
});
