import type { MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { Client, credentials, Metadata, status, type ServiceError } from '@grpc/grpc-js';
import { toCodedErrorJson } from '@drover/shared/coded-error';
import { ServeError, type ServeCode } from '../../errors.js';
import type { ClientSignal } from '../../scheduling/run-queue.js';
import { describeModel, describeServer, repositoryIndex } from '../description.js';
import type { Handover } from '../handover.js';
import { infer, type InferTools } from '../infer.js';
import {
  GRPCInferenceService,
  type ModelInferRequest,
  type ModelInferResponse,
  type ModelStreamInferResponseSchema,
} from './generated/inference_pb.js';
import { toCall, toResponse } from './infer-messages.js';
import { definitionOf } from './service-definition.js';

export interface InferenceServiceOptions extends InferTools {
  readonly serverVersion: string;
  readonly handover: Handover;
}

export interface CallContext {
  readonly signal: ClientSignal;
  /** By `performance.now()`. */
  readonly deadlineMs: number | undefined;
}

type Methods = (typeof GRPCInferenceService)['method'];
type UnaryMethods = {
  readonly [Name in Exclude<keyof Methods, 'modelStreamInfer'>]: (
    request: MessageShape<Methods[Name]['input']>,
    context: CallContext,
  ) => MessageInitShape<Methods[Name]['output']> | Promise<MessageInitShape<Methods[Name]['output']>>;
};

export interface InferenceService {
  readonly unary: UnaryMethods;
  /** One request of a stream: what is wrong with it is said in the place of its answer, and the stream goes on. */
  readonly streamInfer: (
    request: ModelInferRequest,
    context: CallContext,
  ) => Promise<MessageInitShape<typeof ModelStreamInferResponseSchema>>;
}

const STATUS: Readonly<Partial<Record<string, status>>> = {
  REQUEST_INVALID: status.INVALID_ARGUMENT,
  INPUT_CONTRACT_VIOLATED: status.INVALID_ARGUMENT,
  SHARED_MEMORY_OFF: status.FAILED_PRECONDITION,
  SEQUENCE_UNKNOWN: status.INVALID_ARGUMENT,
  SEQUENCE_LOST: status.ABORTED,
  SEQUENCE_LIMIT: status.RESOURCE_EXHAUSTED,
  MODEL_NOT_SERVED: status.NOT_FOUND,
  REQUEST_TOO_LARGE: status.RESOURCE_EXHAUSTED,
  SERVE_OVERLOADED: status.UNAVAILABLE,
  MODEL_BEING_REPLACED: status.UNAVAILABLE,
  REQUEST_EXPIRED: status.DEADLINE_EXCEEDED,
  REQUEST_CANCELLED: status.CANCELLED,
} satisfies Partial<Record<ServeCode, status>>;
const CODE_KEY = 'drover-code';

/** The service of the protocol's gRPC form, and what of Triton's is served. */
export function inferenceService({
  models,
  memory,
  serverVersion,
  handover,
}: InferenceServiceOptions): InferenceService {
  const successor = successorOf(handover);
  const tools = { models, memory };
  const modelInfer = async (request: ModelInferRequest, context: CallContext): Promise<ModelInferResponse> => {
    // A stream may last longer than its process is the one that answers.
    if (handover.hasBegun) return successor(request, context);
    const call = toCall(request, context.deadlineMs);
    return toResponse(await infer(call, tools, context.signal), request);
  };
  const isServed = (name: string, version: string): boolean => {
    try {
      models.find(name, version || undefined);
      return true;
    } catch (error) {
      if (error instanceof ServeError && error.code === 'MODEL_NOT_SERVED') return false;
      throw error;
    }
  };
  return {
    unary: {
      serverLive: () => ({ live: true }),
      serverReady: () => ({ ready: true }),
      serverMetadata: () => describeServer(serverVersion, memory),
      modelReady: ({ name, version }) => ({ ready: isServed(name, version) }),
      modelMetadata({ name, version }) {
        const { inputs, outputs, ...facts } = describeModel(models.find(name, version || undefined));
        const tensors = (signature: typeof inputs) =>
          signature.map(({ shape, ...tensor }) => ({ ...tensor, shape: shape.map(BigInt) }));
        return { ...facts, inputs: tensors(inputs), outputs: tensors(outputs) };
      },
      repositoryIndex: () => ({ models: repositoryIndex(models) }),
      systemSharedMemoryStatus({ name }) {
        const facts = memory.status(name || undefined).map(({ offset, byteSize, ...region }) => ({
          ...region,
          offset: BigInt(offset),
          byteSize: BigInt(byteSize),
        }));
        return { regions: Object.fromEntries(facts.map((region) => [region.name, region])) };
      },
      async systemSharedMemoryRegister({ name, key, offset, byteSize }) {
        await memory.register({ name, key, offset: Number(offset), byteSize: Number(byteSize) });
        return {};
      },
      async systemSharedMemoryUnregister({ name }) {
        await memory.unregister(name || undefined);
        return {};
      },
      modelInfer,
    },
    async streamInfer(request, context) {
      try {
        return { inferResponse: await modelInfer(request, context) };
      } catch (error) {
        const errorMessage = isStatus(error) ? error.details : toCodedErrorJson(error).what;
        return { errorMessage, inferResponse: { id: request.id } };
      }
    },
  };
}

/** How an error is said to the client. Our code of it travels as `drover-code` in its metadata. */
export function statusOf(error: unknown): Pick<ServiceError, 'code' | 'details' | 'metadata'> {
  const metadata = new Metadata();
  if (isStatus(error)) {
    const [code] = error.metadata.get(CODE_KEY);
    if (code !== undefined) metadata.set(CODE_KEY, code);
    return { code: error.code, details: error.details, metadata };
  }
  const { code, what, remedy } = toCodedErrorJson(error);
  metadata.set(CODE_KEY, code);
  return { code: STATUS[code] ?? status.INTERNAL, details: `${what} ${remedy}`, metadata };
}

/** What the successor has refused. */
const isStatus = (error: unknown): error is ServiceError =>
  error instanceof Error && 'details' in error && 'metadata' in error && error.metadata instanceof Metadata;

function successorOf(handover: Handover) {
  const { modelInfer: method } = definitionOf(GRPCInferenceService);
  let client: Promise<Client> | undefined;
  const open = async (): Promise<Client> => {
    const { host, port } = await handover.successor;
    const bounds = { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 };
    return new Client(`${host.includes(':') ? `[${host}]` : host}:${port}`, credentials.createInsecure(), bounds);
  };
  return async (request: ModelInferRequest, { signal, deadlineMs }: CallContext): Promise<ModelInferResponse> => {
    const to = await (client ??= open());
    if (!method) throw new Error('the protocol has no ModelInfer');
    const deadline = deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs - performance.now() };
    const { path, requestSerialize, responseDeserialize } = method;
    return new Promise((resolve, reject) => {
      const answered = (error: ServiceError | null, answer?: unknown): void => {
        signal.removeEventListener('abort', cancel);
        if (error) reject(error);
        else resolve(answer as ModelInferResponse);
      };
      const call = to.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        new Metadata(),
        deadline,
        answered,
      );
      const cancel = (): void => call.cancel();
      signal.addEventListener('abort', cancel);
    });
  };
}
