import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { ModelName } from '@drover/shared/ids';
import { expect, it } from 'vitest';
import { listenInference } from '../../../src/serve/inline/index.js';
import { file_inference } from '../../../src/serve/protocol/grpc/generated/inference_pb.js';
import { installClassifier } from '../installed-classifier.js';
import { DATATYPES, installIdentity } from '../installed-identity.js';
import { installRecurrent } from '../sequences/installed-recurrent.js';
import { testServing } from '../test-serving.js';

/** A Python that has tritonclient; .ci/run makes one. */
const python = process.env['DROVER_PYTHON'] ?? 'python3';
const hasClient = spawnSync(python, ['-c', 'import tritonclient.http, tritonclient.grpc']).status === 0;

it.skipIf(!hasClient)(
  "when Triton's own clients ask, over HTTP and gRPC, they are served unchanged (set DROVER_PYTHON to a Python that has tritonclient; skipped without)",
  async () => {
    const directory = mkdtempSync(join(tmpdir(), 'drover-triton-'));
    const serving = testServing();
    const { signal } = new AbortController();
    await serving.activate(await installClassifier({ directory: join(directory, 'classifier') }), signal);
    const identity = installIdentity(join(directory, 'identity'), DATATYPES);
    await serving.activate({ ...identity, model: ModelName('identity') }, signal);
    const recurrent = await installRecurrent({ directory: join(directory, 'recurrent') });
    await serving.activate(recurrent.installed, signal);
    const server = await listenInference({
      host: '127.0.0.1',
      port: 0,
      models: serving,
      serverVersion: '0.1.0',
      sharedMemory: true,
    });
    try {
      const script = join(import.meta.dirname, 'check_tritonclient.py');
      const child = spawn(python, [script, `127.0.0.1:${server.port}`], { stdio: ['pipe', 'pipe', 'pipe'] });
      let output = '';
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => (output += bytes.toString())); // prettier-ignore
      child.stdin.end(toBinary(FileDescriptorProtoSchema, file_inference.proto));
      const code = await new Promise((resolve) => child.on('close', resolve));
      expect(code, output).toBe(0);
      expect(output.match(/^held: /gm)).toHaveLength(19);
    } finally {
      await server.close();
      await serving.close();
      await recurrent.close();
      rmSync(directory, { recursive: true });
    }
  },
  120_000,
);
