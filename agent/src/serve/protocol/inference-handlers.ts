import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { digestHex, ModelName } from '@drover/shared/ids';
import type { InstalledModel, ServedParameters } from '../../update/ports.js';
import { ServeError } from '../errors.js';
import type { ServedModels } from '../inline/inline-serving.js';
import type { ModelTensor, TensorMap } from '../session/tensor.js';
import { FeedbackBody, IndexBody, InferBody, RejectionBody } from './infer-schema.js';
import { readBody } from './request-body.js';
import type { ModelRoute, Route } from './routes.js';
import { dataToJson, readTensor } from './tensor-json.js';

export interface HandlerOptions {
  readonly models: ServedModels;
  readonly serverVersion: string;
  readonly maxBodyBytes: number;
}

/** A status and the JSON text of the body; none where the reader has it already. */
export interface Reply {
  readonly status: number;
  readonly json: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const ok = (body: object, status = 200): Reply => ({ status, json: JSON.stringify(body) });

/** Answers one route. Throws coded errors; their statuses are the server's business. */
export async function handle(route: Route, request: IncomingMessage, options: HandlerOptions): Promise<Reply> {
  const { models, maxBodyBytes } = options;
  switch (route.kind) {
    case 'server':
      return ok({
        name: 'drover',
        version: options.serverVersion,
        extensions: ['model_repository', 'drover_feedback', 'drover_parameters'],
      });
    case 'live':
      return ok({ live: true });
    case 'ready':
      return ok({ ready: true });
    case 'index': {
      await readBody(request, IndexBody, maxBodyBytes);
      const served = models.served();
      return ok(
        served.map(({ model, release }) => ({ name: model, version: release.version, state: 'READY', reason: '' })),
      );
    }
    case 'model':
      return ok(metadata(models.find(route.model, route.version)));
    case 'model-ready':
      return ok({ name: models.find(route.model, route.version).model, ready: true });
    case 'infer':
      return infer(route, await readBody(request, InferBody, maxBodyBytes), models);
    case 'feedback': {
      const { id, labels } = await readBody(request, FeedbackBody, maxBodyBytes);
      models.feedback(route.model, id, labels);
      // Accepted, not done: the label is joined with its inference by the supervisor's store.
      return ok({ id, labels: labels.length }, 202);
    }
    case 'parameters':
      return parametersReply(models.parameters(route.model), request.headers['if-none-match']);
    case 'parameters-rejection': {
      const rejection = await readBody(request, RejectionBody, maxBodyBytes);
      models.rejectParameters(route.model, rejection);
      return ok({ digest: rejection.digest }, 202);
    }
  }
}

/** RFC 9110, section 13.1.2: an application may ask before each of its decisions, and pays for an answer only when the values have changed. */
function parametersReply({ document, loaded }: ServedParameters, known: string | undefined): Reply {
  const etag = `"${digestHex(loaded)}"`;
  const headers = { etag, 'cache-control': 'no-cache' };
  const isKnown = known === '*' || known?.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag);
  return isKnown ? { status: 304, json: '', headers } : { status: 200, json: document, headers };
}

const metadata = ({ model, release, variant }: InstalledModel): object => ({
  name: model,
  versions: [release.version],
  platform: 'onnx_onnxv1',
  inputs: variant.signature.inputs,
  outputs: variant.signature.outputs,
});

async function infer(route: ModelRoute, body: InferBody, models: ServedModels): Promise<Reply> {
  const { model, variant } = models.find(route.model, route.version);
  const inputs = readInputs(body);
  const wanted = body.outputs?.map(({ name }) => name) ?? variant.signature.outputs.map(({ name }) => name);
  const unknown = wanted.find((name) => !variant.signature.outputs.some((output) => output.name === name));
  if (unknown !== undefined) throw invalid(`${model} has no output ${JSON.stringify(unknown)}`);
  const requestId = body.id ?? randomUUID();
  const version = route.version === undefined ? {} : { version: route.version };
  const response = await models.infer({ model: ModelName(model), requestId, inputs, ...version });
  const outputs = wanted.map((name) => outputToJson(name, response.outputs[name])).join(',');
  const { parameters } = response;
  const head = JSON.stringify({
    model_name: model,
    model_version: response.version,
    id: requestId,
    // Open Inference Protocol v2, response parameters: an application sees by it that the values which it has read are no longer those in force.
    ...(parameters && { parameters: { drover_parameters: parameters.release.version } }),
  });
  return { status: 200, json: `${head.slice(0, -1)},"outputs":[${outputs}]}` };
}

function readInputs(body: InferBody): TensorMap {
  const inputs = new Map<string, ModelTensor>();
  for (const { name, datatype, shape, data } of body.inputs) {
    if (inputs.has(name)) throw invalid(`the input ${JSON.stringify(name)} is given twice`);
    inputs.set(name, readTensor(name, datatype, shape, data));
  }
  return Object.fromEntries(inputs);
}

/** A release that took over between the look-up and the run may lack an output: then the request is answered for what serves now. */
function outputToJson(name: string, tensor: ModelTensor | undefined): string {
  if (!tensor) throw invalid(`the model that serves now has no output ${JSON.stringify(name)}`);
  const head = JSON.stringify({ name, datatype: tensor.datatype, shape: tensor.shape });
  return `${head.slice(0, -1)},"data":${dataToJson(tensor)}}`;
}

const invalid = (why: string): ServeError =>
  new ServeError('REQUEST_INVALID', `The request cannot be answered: ${why}.`, {
    remedy: 'Read the signature with GET /v2/models/{model}.',
  });
