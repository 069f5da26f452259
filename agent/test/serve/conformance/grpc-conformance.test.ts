import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DescriptorProto, FileDescriptorProto } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import { listenInference } from '../../../src/serve/inline/index.js';
import { file_inference } from '../../../src/serve/protocol/grpc/generated/inference_pb.js';
import { installClassifier } from '../installed-classifier.js';
import { testServing } from '../test-serving.js';
import { python, readPublished, WITHOUT_PYTHON } from './published.js';

/** Every field as one line: message, name, number, type, whether repeated, and the message it holds. */
const fieldsOf = (messages: readonly DescriptorProto[], within = ''): string[] =>
  messages.flatMap(({ name, field, nestedType }) => [
    ...field.map((each) => [within + name, each.name, each.number, each.type, each.label, each.typeName].join(' ')),
    ...fieldsOf(nestedType, `${within}${name}.`),
  ]);
const messagesOf = (messages: readonly DescriptorProto[]): string[] => messages.map(({ name }) => name);
const methodsOf = ({ package: within, service }: FileDescriptorProto): string[] =>
  service.flatMap(({ name, method }) =>
    method.map((each) =>
      [within, name, each.name, each.inputType, each.outputType, each.clientStreaming, each.serverStreaming].join(' '),
    ),
  );

const published = readPublished();

describe.skipIf(!published)(`the published proto of the protocol ${WITHOUT_PYTHON}`, () => {
  const { proto } = published ?? { proto: file_inference.proto };
  const ours = file_inference.proto;

  it('when its methods, messages and fields are looked up in ours, each is there, by name, number and type', () => {
    expect(methodsOf(proto)).toHaveLength(6);
    expect(methodsOf(ours)).toEqual(expect.arrayContaining(methodsOf(proto)));
    expect(messagesOf(ours.messageType)).toEqual(expect.arrayContaining(messagesOf(proto.messageType)));
    expect(fieldsOf(ours.messageType)).toEqual(expect.arrayContaining(fieldsOf(proto.messageType)));
  });

  it('when clients that were generated from the published documents call every method, they are answered', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'drover-published-'));
    const serving = testServing();
    await serving.activate(await installClassifier({ directory }), new AbortController().signal);
    const server = await listenInference({ host: '127.0.0.1', port: 0, models: serving, serverVersion: '0.1.0' });
    try {
      const script = join(import.meta.dirname, 'check_published_clients.py');
      const child = spawn(python, [script, `127.0.0.1:${server.port}`]);
      let output = '';
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => (output += bytes.toString())); // prettier-ignore
      const code = await new Promise((resolve) => child.on('close', resolve));
      expect(code, output).toBe(0);
      expect(output.match(/^held: /gm)).toHaveLength(7);
    } finally {
      await server.close();
      await serving.close();
      rmSync(directory, { recursive: true });
    }
  }, 60_000);
});
