import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { ModelName } from '@drover/shared/ids';
import type { InputContract } from '@drover/shared/input-contract';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { listenInference, type InferenceServer, type InlineServing } from '../../src/serve/inline/index.js';
import { GRPCInferenceService } from '../../src/serve/protocol/grpc/generated/inference_pb.js';
import { FEATURES, installClassifier } from './installed-classifier.js';
import { memoryRecorder, type MemoryRecorder } from './memory-recorder.js';
import { testServing } from './test-serving.js';

const contract = (action: InputContract['action']): InputContract => ({
  action,
  windowRows: 4,
  inputs: [
    {
      name: 'features',
      features: ['heat', 'flow', 'tilt', 'load'],
      rules: [
        { rule: 'range', column: 'heat', min: -40, max: 85 },
        { rule: 'present', column: 'load' },
        { rule: 'range', column: 'flow', max: 1, mostly: 0.5 },
      ],
    },
  ],
});

describe('a release with a contract of its inputs', () => {
  let directory: string;
  let recorder: MemoryRecorder;
  let serving: InlineServing;
  let server: InferenceServer;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'drover-contract-'));
    recorder = memoryRecorder();
    serving = testServing(recorder);
  });
  afterEach(async () => {
    await server.close();
    await serving.close();
    rmSync(directory, { recursive: true });
  });

  async function serve(action: InputContract['action']): Promise<void> {
    const parity = { absolute: 1e-5, relative: 1e-5 };
    const manifest = { contract: { perHardwareClass: [], parity, inputs: contract(action) } };
    const installed = await installClassifier({ directory, manifest });
    await serving.activate(installed, new AbortController().signal);
    const options = { host: '127.0.0.1', port: 0, serverVersion: '0.1.0', maxBodyBytes: 100_000 };
    server = await listenInference({ ...options, models: serving });
  }
  const ask = async (...rows: number[][]) => {
    const input = { name: 'features', datatype: 'FP32', shape: [rows.length, FEATURES], data: rows.flat() };
    const response = await fetch(`http://127.0.0.1:${server.port}/v2/models/classifier/infer`, {
      method: 'POST',
      body: JSON.stringify({ inputs: [input] }),
    });
    return { status: response.status, body: (await response.json()) as { error: string; code: string } };
  };

  it('when it rejects, refuses a request with a row that breaks a rule, says which, and asks nothing of the model', async () => {
    await serve('reject');
    const refused = await ask([0, 0, 0, 0], [181.5, 0, 0, 0]);
    expect(refused).toMatchObject({ status: 422, body: { code: 'INPUT_CONTRACT_VIOLATED' } });
    expect(refused.body.error).toContain(
      'input "features", row 1, column "heat" is 181.5, and must be at least -40 and at most 85',
    );
    expect((await ask([85, 9, 9, 9])).status).toBe(200);
    expect(recorder.records.map(({ failed, inferences }) => [failed, inferences])).toEqual([[false, 1]]);
    expect(recorder.inputCounts).toMatchObject([
      { model: 'classifier', rows: 2, refusedRequests: 1, violations: [{ rule: 0, feature: 'heat', rows: 1 }] },
      { rows: 1, refusedRequests: 0, violations: [{ rule: 2, rows: 1, windows: 0 }] },
    ]);
    expect(serving.health(ModelName('classifier'))).toMatchObject({ requests: 1, failures: 0 });
  });

  it('when it rejects, refuses over gRPC with INVALID_ARGUMENT and its code', async () => {
    await serve('reject');
    const client = createClient(
      GRPCInferenceService,
      createGrpcTransport({ baseUrl: `http://127.0.0.1:${server.port}` }),
    );
    const inputs = [{ name: 'features', datatype: 'FP32', shape: [1n, BigInt(FEATURES)] }];
    const rawInputContents = [new Uint8Array(Float32Array.of(0, 0, 0, NaN).buffer)];
    const refused = await client
      .modelInfer({ modelName: 'classifier', inputs, rawInputContents })
      .catch((error: unknown) => ConnectError.from(error));
    if (!(refused instanceof ConnectError)) throw new Error('it was answered');
    expect([refused.code, refused.metadata.get('drover-code')]).toEqual([
      Code.InvalidArgument,
      'INPUT_CONTRACT_VIOLATED',
    ]);
    expect(refused.rawMessage).toContain('column "load" is NaN, and must be there');
  });

  it('when it records, answers and counts, and judges shares over the rows of a window', async () => {
    await serve('record');
    const rows = [[100, 0, 0, 0], [0, 7, 0, 0], [0, 7, 0, 0], [0, 7, 0, 0]]; // prettier-ignore
    expect((await ask(...rows)).status).toBe(200);
    expect(recorder.inputCounts).toMatchObject([
      {
        rows: 4,
        refusedRequests: 0,
        violations: [
          { rule: 0, rows: 1, windows: 0 },
          { rule: 2, feature: 'flow', rows: 3, windows: 1, windowsBelow: 1, share: 0.25, isBelow: true },
        ],
      },
    ]);
    expect(recorder.records[0]?.features?.count).toBe(4);
  });
});
