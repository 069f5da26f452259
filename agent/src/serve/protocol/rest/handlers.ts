import type { IncomingMessage } from 'node:http';
import { digestHex } from '@drover/shared/ids';
import type { ServedParameters } from '../../../update/ports.js';
import type { LabelRequest } from '../../label-desk.js';
import type { ClientSignal } from '../../scheduling/run-queue.js';
import { describeModel, describeServer, repositoryIndex } from '../description.js';
import { infer, type InferTools } from '../infer.js';
import type { Region } from '../shared-memory.js';
import { AnswerBody, FeedbackBody, IndexBody, RegionBody, RejectionBody } from './bodies.js';
import { inferReply } from './infer-reply.js';
import { readInferRequest } from './infer-request.js';
import { readBody, readJson } from './request-body.js';
import type { ModelRoute, Route } from './routes.js';

export interface HandlerOptions extends InferTools {
  readonly serverVersion: string;
  readonly maxBodyBytes: number;
}

/** A status and the JSON text of the body; none where the reader has it already. */
export interface Reply {
  readonly status: number;
  readonly json: string;
  /** Follows the JSON. */
  readonly binary?: readonly Uint8Array[];
  readonly headers?: Readonly<Record<string, string>>;
}

const ok = (body: object, status = 200): Reply => ({ status, json: JSON.stringify(body) });

/**
 * Answers one route. Throws coded errors; their statuses are the server's business.
 *
 * @param signal the client has gone
 */
export async function handle(
  route: Route,
  request: IncomingMessage,
  options: HandlerOptions,
  signal: ClientSignal,
): Promise<Reply> {
  const { models, memory, maxBodyBytes } = options;
  switch (route.kind) {
    case 'server':
      return ok(describeServer(options.serverVersion, memory));
    case 'live':
      return ok({ live: true });
    case 'ready':
      return ok({ ready: true });
    case 'index': {
      await readJson(request, IndexBody, maxBodyBytes);
      return ok(repositoryIndex(models));
    }
    case 'model':
      return ok(describeModel(models.find(route.model, route.version)));
    case 'model-ready':
      return ok({ name: models.find(route.model, route.version).model, ready: true });
    case 'infer':
      return inferReplyTo(route, request, options, signal);
    case 'feedback': {
      const { id, labels } = await readJson(request, FeedbackBody, maxBodyBytes);
      const { joined, repeated, conflicting, gone } = await models.feedback(route.model, id, labels);
      return ok({ id, labels: labels.length, joined, repeated, conflicting, gone });
    }
    case 'labels': {
      const names = models.find(route.model).manifest.task.labels ?? [];
      return ok({ requests: (await models.labelRequests(route.model)).map((each) => labelRequestToJson(each, names)) });
    }
    case 'label-answers': {
      const { id, label } = await readJson(request, AnswerBody, maxBodyBytes);
      return ok({ id, became: await models.answerLabel(route.model, id, label) });
    }
    case 'parameters':
      return parametersReply(await models.parameters(route.model), request.headers['if-none-match']);
    case 'parameters-rejection': {
      const rejection = await readJson(request, RejectionBody, maxBodyBytes);
      await models.rejectParameters(route.model, rejection);
      return ok({ digest: rejection.digest }, 202);
    }
    case 'memory-status':
      return ok(memory.status(route.region).map(regionToJson));
    case 'memory-register': {
      const { key, offset = 0, byte_size: byteSize } = await readJson(request, RegionBody, maxBodyBytes);
      await memory.register({ name: route.region, key, offset, byteSize });
      return ok({});
    }
    case 'memory-unregister':
      await memory.unregister(route.region);
      return ok({});
  }
}

const regionToJson = ({ name, key, offset, byteSize }: Region) => ({ name, key, offset, byte_size: byteSize });

const labelRequestToJson = (request: LabelRequest, names: readonly string[]) => {
  const { id, version, requestId, row, reason, requestedAtMs, servedAtMs, prediction, confidence, features } = request;
  return {
    id,
    version,
    request_id: requestId,
    row,
    reason,
    requested_at: new Date(requestedAtMs).toISOString(),
    served_at: new Date(servedAtMs).toISOString(),
    prediction: { index: prediction, ...(names[prediction] === undefined ? {} : { label: names[prediction] }) },
    confidence,
    ...(features ? { features: Array.from(features) } : {}),
  };
};

/** RFC 9110, section 13.1.2: an application may ask before each of its decisions, and pays for an answer only when the values have changed. */
function parametersReply({ document, loaded }: ServedParameters, known: string | undefined): Reply {
  const etag = `"${digestHex(loaded)}"`;
  const headers = { etag, 'cache-control': 'no-cache' };
  const isKnown = known === '*' || known?.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag);
  return isKnown ? { status: 304, json: '', headers } : { status: 200, json: document, headers };
}

async function inferReplyTo(
  route: ModelRoute,
  request: IncomingMessage,
  options: HandlerOptions,
  signal: ClientSignal,
): Promise<Reply> {
  const body = await readBody(request, options.maxBodyBytes);
  const { call, isBinary } = readInferRequest(route, body, () => options.models.find(route.model, route.version));
  const { json, binary } = inferReply(await infer(call, options, signal), isBinary);
  return { status: 200, json, binary };
}
