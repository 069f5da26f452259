import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, type FileDescriptorProto } from '@bufbuild/protobuf/wkt';
import type { OpenApi } from './openapi.js';

/** What the working group of the Open Inference Protocol v2 published. */
export interface Published {
  /** The data plane, and the model repository extension. */
  readonly openApis: readonly OpenApi[];
  readonly proto: FileDescriptorProto;
}

/** A Python that has the packages which the documents come from; .ci/run makes one. */
export const python = process.env['DROVER_PYTHON'] ?? 'python3';
/** mlserver is only read: it is installed without what it needs to run. */
const PACKAGES =
  'import open_inference.grpc.service, open_inference.openapi.client, importlib.metadata as m; m.distribution("mlserver")';
export const WITHOUT_PYTHON =
  '(set DROVER_PYTHON to a Python that has mlserver, open-inference-grpc and open-inference-openapi; skipped without)';

/** @returns undefined where this machine has no such Python */
export function readPublished(): Published | undefined {
  if (spawnSync(python, ['-c', PACKAGES]).status !== 0) return undefined;
  const { stdout, stderr, status } = spawnSync(python, [join(import.meta.dirname, 'published_documents.py')], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  const { openapi, descriptor } = JSON.parse(stdout) as { openapi: OpenApi[]; descriptor: string };
  return { openApis: openapi, proto: fromBinary(FileDescriptorProtoSchema, Buffer.from(descriptor, 'base64')) };
}
