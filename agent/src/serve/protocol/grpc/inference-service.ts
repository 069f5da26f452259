import {
  Code,
  ConnectError,
  createClient,
  type Client,
  type ConnectRouter,
  type HandlerContext,
} from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { toCodedErrorJson } from '@drover/shared/coded-error';
import { ServeError, type ServeCode } from '../../errors.js';
import { describeModel, describeServer, repositoryIndex } from '../description.js';
import type { Handover } from '../handover.js';
import { infer, type InferTools } from '../infer.js';
import { GRPCInferenceService, type ModelInferRequest, type ModelInferResponse } from './generated/inference_pb.js';
import { toCall, toResponse } from './infer-messages.js';

export interface InferenceServiceOptions extends InferTools {
  readonly serverVersion: string;
  readonly handover: Handover;
}

const STATUS: Readonly<Partial<Record<string, Code>>> = {
  REQUEST_INVALID: Code.InvalidArgument,
  INPUT_CONTRACT_VIOLATED: Code.InvalidArgument,
  SHARED_MEMORY_OFF: Code.FailedPrecondition,
  SEQUENCE_UNKNOWN: Code.InvalidArgument,
  SEQUENCE_LOST: Code.Aborted,
  SEQUENCE_LIMIT: Code.ResourceExhausted,
  MODEL_NOT_SERVED: Code.NotFound,
  REQUEST_TOO_LARGE: Code.ResourceExhausted,
  SERVE_OVERLOADED: Code.Unavailable,
  MODEL_BEING_REPLACED: Code.Unavailable,
  REQUEST_EXPIRED: Code.DeadlineExceeded,
  REQUEST_CANCELLED: Code.Canceled,
} satisfies Partial<Record<ServeCode, Code>>;

/** The service of the protocol's gRPC form, and what of Triton's is served. Our code of an error travels as `drover-code` in its metadata. */
export const inferenceService =
  ({ models, memory, serverVersion, handover }: InferenceServiceOptions) =>
  (router: ConnectRouter): void => {
    let successor: Promise<Client<typeof GRPCInferenceService>> | undefined;
    const openSuccessor = async () => {
      const { host, port } = await handover.successor;
      const baseUrl = `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
      return createClient(GRPCInferenceService, createGrpcTransport({ baseUrl }));
    };
    const modelInfer = async (request: ModelInferRequest, context: HandlerContext): Promise<ModelInferResponse> => {
      // A stream may last longer than its process is the one that answers.
      if (handover.hasBegun) {
        const { modelInfer: ask } = await (successor ??= openSuccessor());
        const timeoutMs = context.timeoutMs();
        return ask(request, { signal: context.signal, ...(timeoutMs !== undefined && { timeoutMs }) });
      }
      const call = toCall(request);
      const byGrpcMs = performance.now() + (context.timeoutMs() ?? Infinity);
      const deadlineMs = Math.min(call.deadlineMs ?? Infinity, byGrpcMs);
      return toResponse(await infer({ ...call, deadlineMs, signal: context.signal }, { models, memory }), request);
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
    router.service(GRPCInferenceService, {
      serverLive: () => ({ live: true }),
      serverReady: () => ({ ready: true }),
      serverMetadata: () => describeServer(serverVersion, memory),
      modelReady: ({ name, version }) => ({ ready: isServed(name, version) }),
      modelMetadata: ({ name, version }) =>
        coded(() => {
          const { inputs, outputs, ...facts } = describeModel(models.find(name, version || undefined));
          const tensors = (signature: typeof inputs) =>
            signature.map(({ shape, ...tensor }) => ({ ...tensor, shape: shape.map(BigInt) }));
          return Promise.resolve({ ...facts, inputs: tensors(inputs), outputs: tensors(outputs) });
        }),
      repositoryIndex: () => ({ models: repositoryIndex(models) }),
      systemSharedMemoryStatus: ({ name }) =>
        coded(() => {
          const facts = memory.status(name || undefined).map(({ offset, byteSize, ...region }) => ({
            ...region,
            offset: BigInt(offset),
            byteSize: BigInt(byteSize),
          }));
          return Promise.resolve({ regions: Object.fromEntries(facts.map((region) => [region.name, region])) });
        }),
      systemSharedMemoryRegister: ({ name, key, offset, byteSize }) =>
        coded(async () => {
          await memory.register({ name, key, offset: Number(offset), byteSize: Number(byteSize) });
          return {};
        }),
      systemSharedMemoryUnregister: ({ name }) =>
        coded(async () => {
          await memory.unregister(name || undefined);
          return {};
        }),
      modelInfer: (request, context) => coded(() => modelInfer(request, context)),
      /** Answers in the order of the requests; what is wrong with one is said in its place, and the stream goes on. */
      async *modelStreamInfer(requests, context) {
        for await (const request of requests) {
          try {
            yield { inferResponse: await modelInfer(request, context) };
          } catch (error) {
            const errorMessage = error instanceof ConnectError ? error.rawMessage : toCodedErrorJson(error).what;
            yield { errorMessage, inferResponse: { id: request.id } };
          }
        }
      },
    });
  };

async function coded<Value>(act: () => Promise<Value>): Promise<Value> {
  try {
    return await act();
  } catch (cause) {
    if (cause instanceof ConnectError) throw cause;
    const { code, what, remedy } = toCodedErrorJson(cause);
    throw new ConnectError(
      `${what} ${remedy}`,
      STATUS[code] ?? Code.Internal,
      { 'drover-code': code },
      undefined,
      cause,
    );
  }
}
