import { Agent, request, type IncomingMessage } from 'node:http';
import { Type, type Static, type TSchema } from 'typebox';
import { Datatype, TensorSignature } from '@drover/shared/manifest';
import { formatProblems, parseJsonBytes, validate } from '@drover/shared/validation';
import { fromBytes, toBytes, type ModelTensor, type TensorMap } from '../serve/tensors/tensor.js';
import { InferenceClientError } from './errors.js';

export interface InferenceClientOptions {
  /** Of the agent on this device; http://127.0.0.1:8080 unless given. */
  readonly url?: string;
  /** Path of its Unix socket (`serve.socket`), in place of the port. */
  readonly socketPath?: string;
  /** Connections that are kept. */
  readonly maxConnections?: number;
}

export interface InferOptions {
  readonly version?: string;
  /** To send ground truth for it later. */
  readonly id?: string;
  /** Names; all unless given. */
  readonly outputs?: readonly string[];
  /** 1 is the highest, 10 the lowest, 5 unless given. */
  readonly priority?: number;
  /** After which the agent drops the request, if it still waits. */
  readonly timeoutMs?: number;
  /** For a recurrent model, whose state the agent keeps from request to request of a sequence; numbers from 1 on, or texts. */
  readonly sequence?: { readonly id: number | string; readonly isStart?: boolean; readonly isEnd?: boolean };
  readonly signal?: AbortSignal;
}

export interface Inference {
  readonly id: string;
  /** Of the release that answered. */
  readonly version: string;
  /** Version of the parameters that were in force, where there are any. */
  readonly parameters?: string;
  readonly outputs: TensorMap;
}

const Metadata = Type.Object({
  name: Type.String(),
  versions: Type.Array(Type.String()),
  platform: Type.String(),
  inputs: Type.Array(TensorSignature),
  outputs: Type.Array(TensorSignature),
});
export type ModelMetadata = Static<typeof Metadata>;

const FeedbackOutcome = Type.Object({
  joined: Type.Integer({ minimum: 0 }),
  /** Had this label already. */
  repeated: Type.Integer({ minimum: 0 }),
  /** Had another label, which stays. */
  conflicting: Type.Integer({ minimum: 0 }),
  /** Are no longer kept by the device. */
  gone: Type.Integer({ minimum: 0 }),
});
/** What became of ground truth, in rows. */
export type FeedbackOutcome = Static<typeof FeedbackOutcome>;

const LabelRequest = Type.Object({
  id: Type.String(),
  version: Type.String(),
  request_id: Type.String(),
  row: Type.Integer({ minimum: 0 }),
  /** Drawn evenly, or because the model was unsure. */
  reason: Type.Enum(['random', 'targeted']),
  requested_at: Type.String(),
  served_at: Type.String(),
  prediction: Type.Object({ index: Type.Integer(), label: Type.Optional(Type.String()) }),
  /** Null where the answer was no number. */
  confidence: Type.Union([Type.Number(), Type.Null()]),
  /** Of the row as the model got it; missing where inputs are not kept. What is not finite is null. */
  features: Type.Optional(Type.Array(Type.Union([Type.Number(), Type.Null()]))),
});
export type LabelRequest = Static<typeof LabelRequest>;
const LabelRequests = Type.Object({ requests: Type.Array(LabelRequest) });
const AnswerOutcome = Type.Object({ became: Type.Enum(['joined', 'repeated', 'declined']) });
type AnswerOutcome = Static<typeof AnswerOutcome>;

/** All reject with InferenceClientError. */
export interface InferenceClient {
  /** Whether the model (in this version) is served now. */
  isReady(model: string, version?: string): Promise<boolean>;
  metadata(model: string, version?: string): Promise<ModelMetadata>;
  /** Tensors travel as bytes; the buffers stay the caller's. */
  infer(model: string, inputs: TensorMap, options?: InferOptions): Promise<Inference>;
  /**
   * Ground truth for the rows of an earlier request to a classifier: the index or the name of each row's class, null where it is not known yet
   * (a later call fills it in). The first label of a row counts. Rejects with the agent's code FEEDBACK_SAMPLE_GONE when nothing of the
   * request is kept, and FEEDBACK_CONFLICTS when all its rows have other labels.
   */
  feedback(model: string, id: string, labels: readonly (number | string | null)[]): Promise<FeedbackOutcome>;
  /** What the agent would like labelled (agent.json, `labels`), oldest first, at most 100. */
  labelRequests(model: string): Promise<readonly LabelRequest[]>;
  /** The truth that was asked for: index or name of the class, null where nobody can tell. */
  answerLabel(model: string, id: string, label: number | string | null): Promise<AnswerOutcome['became']>;
  /** What is in force for the release that serves; undefined where nothing is. */
  parameters(model: string): Promise<unknown>;
  close(): void;
}

const InferAnswer = Type.Object({
  model_version: Type.String(),
  id: Type.String(),
  parameters: Type.Optional(Type.Object({ drover_parameters: Type.Optional(Type.String()) })),
  outputs: Type.Array(
    Type.Object({
      name: Type.String(),
      datatype: Datatype,
      shape: Type.Array(Type.Integer({ minimum: 0 })),
      parameters: Type.Object({ binary_data_size: Type.Integer({ minimum: 0 }) }),
    }),
  ),
});
const Refusal = Type.Object({
  error: Type.String(),
  code: Type.Optional(Type.String()),
  remedy: Type.Optional(Type.String()),
});

interface Answer {
  readonly status: number;
  readonly body: Buffer;
  /** Bytes of the JSON before the binary part. */
  readonly headBytes: number;
}

/** A small client for applications on the device: the Open Inference Protocol v2 over HTTP with binary tensors, and Drover's extensions of it. */
export function createInferenceClient(options: InferenceClientOptions = {}): InferenceClient {
  const { url = 'http://127.0.0.1:8080', socketPath, maxConnections = 4 } = options;
  const { hostname, port } = new URL(url);
  const agent = new Agent({ keepAlive: true, maxSockets: maxConnections });
  const where = socketPath ?? url;

  const send = (
    method: 'GET' | 'POST',
    path: string,
    {
      parts = [],
      headers = {},
      signal,
    }: {
      parts?: readonly Uint8Array[];
      headers?: Record<string, string | number>;
      signal?: AbortSignal | undefined;
    } = {},
  ): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const to = socketPath === undefined ? { hostname, port } : { socketPath };
      const length = parts.reduce((bytes, part) => bytes + part.length, 0);
      const sent = request({
        ...to,
        agent,
        method,
        path: `/v2/${path}`,
        headers: { ...(method === 'POST' && { 'content-length': length }), ...headers },
        ...(signal && { signal }),
      });
      const fail = (cause: unknown): void => reject(unreachable(where, cause));
      sent.once('error', fail);
      sent.once('response', (response) => void read(response).then(resolve, fail));
      for (const part of parts) sent.write(part);
      sent.end();
    });
  const pathOf = (model: string, version?: string): string =>
    `models/${encodeURIComponent(model)}${version === undefined ? '' : `/versions/${encodeURIComponent(version)}`}`;
  const postJson = (path: string, document: object): Promise<Answer> =>
    send('POST', path, {
      parts: [Buffer.from(JSON.stringify(document))],
      headers: { 'content-type': 'application/json' },
    });

  return {
    async isReady(model, version) {
      const answer = await send('GET', `${pathOf(model, version)}/ready`);
      if (answer.status === 404) return false;
      demandOk(answer, where);
      return true;
    },
    async metadata(model, version) {
      return readAnswer(Metadata, await send('GET', pathOf(model, version)), where);
    },
    async infer(model, inputs, { version, id, outputs, priority = 0, timeoutMs = 0, sequence, signal } = {}) {
      const tensors = Object.entries(inputs).map(([name, tensor]) => ({ name, tensor, bytes: toBytes(tensor) }));
      const head = Buffer.from(
        JSON.stringify({
          id,
          inputs: tensors.map(({ name, tensor: { datatype, shape }, bytes }) => ({
            name,
            datatype,
            shape,
            parameters: { binary_data_size: bytes.length },
          })),
          outputs: outputs?.map((name) => ({ name })),
          parameters: {
            binary_data_output: true,
            priority,
            timeout: Math.ceil(timeoutMs * 1_000),
            sequence_id: sequence?.id,
            sequence_start: sequence?.isStart,
            sequence_end: sequence?.isEnd,
          },
        }),
      );
      const headers = { 'content-type': 'application/octet-stream', 'inference-header-content-length': head.length };
      const parts = [head, ...tensors.map(({ bytes }) => bytes)];
      const answer = await send('POST', `${pathOf(model, version)}/infer`, { parts, headers, signal });
      const document = readAnswer(InferAnswer, answer, where);
      const inForce = document.parameters?.drover_parameters;
      return {
        id: document.id,
        version: document.model_version,
        ...(inForce === undefined ? {} : { parameters: inForce }),
        outputs: outputsOf(document, answer, where),
      };
    },
    async feedback(model, id, labels) {
      return readAnswer(FeedbackOutcome, await postJson(`${pathOf(model)}/feedback`, { id, labels }), where);
    },
    async labelRequests(model) {
      return readAnswer(LabelRequests, await send('GET', `${pathOf(model)}/labels`), where).requests;
    },
    async answerLabel(model, id, label) {
      return readAnswer(AnswerOutcome, await postJson(`${pathOf(model)}/labels/answers`, { id, label }), where).became;
    },
    async parameters(model) {
      const answer = await send('GET', `${pathOf(model)}/parameters`);
      if (answer.status === 404) return undefined;
      return readAnswer(Type.Unknown(), answer, where);
    },
    close: () => agent.destroy(),
  };
}

async function read(response: IncomingMessage): Promise<Answer> {
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  const body = Buffer.concat(parts);
  const length = Number(response.headers['inference-header-content-length'] ?? body.length);
  return { status: response.statusCode ?? 0, body, headBytes: length };
}

function outputsOf({ outputs }: Static<typeof InferAnswer>, { body, headBytes }: Answer, where: string): TensorMap {
  let offset = headBytes;
  return Object.fromEntries(
    outputs.map(({ name, datatype, shape, parameters }): [string, ModelTensor] => {
      const end = offset + parameters.binary_data_size;
      // A copy: what is read lies in a buffer that others share, and seldom where numbers may begin.
      const tensor = fromBytes(datatype, shape, new Uint8Array(body.subarray(offset, end)));
      offset = end;
      if (tensor) return [name, tensor];
      throw unreadable(where, `the output "${name}" has not the bytes of its shape`);
    }),
  );
}

function readAnswer<Schema extends TSchema>(schema: Schema, answer: Answer, where: string): Static<Schema> {
  demandOk(answer, where);
  return parse(schema, answer, where);
}

function parse<Schema extends TSchema>(schema: Schema, { body, headBytes }: Answer, where: string): Static<Schema> {
  const json = parseJsonBytes(body.subarray(0, headBytes), (why, cause) => unreadable(where, why, cause));
  return validate(schema, json, (problems) => unreadable(where, formatProblems(problems)));
}

function demandOk(answer: Answer, where: string): void {
  if (answer.status < 400) return;
  const { error, code, remedy = 'Correct the request.' } = parse(Refusal, answer, where);
  const kind = answer.status === 503 ? 'INFERENCE_OVERLOADED' : 'INFERENCE_DENIED';
  throw new InferenceClientError(kind, `The agent refused: ${error}`, {
    where,
    remedy,
    ...(code === undefined ? {} : { agentCode: code }),
  });
}

const unreachable = (where: string, cause: unknown) =>
  new InferenceClientError('INFERENCE_UNREACHABLE', `The agent does not answer: ${(cause as Error).message}.`, {
    where,
    remedy: 'Check that it runs (drover-agent status), and serve.port or serve.socket. It may just be starting.',
    cause,
  });
const unreadable = (where: string, why: string, cause?: unknown) =>
  new InferenceClientError('INFERENCE_ANSWER_UNREADABLE', `What answers does not speak the protocol: ${why}.`, {
    where,
    remedy: 'Check the address; another program may listen there.',
    cause,
  });
