import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { CodedError } from '@drover/shared/coded-error';
import { toDatabaseError } from '../database/index.js';
import { HttpError } from './errors.js';
import { statusOf } from './status.js';

/** Every error leaves as `{error: {code, what, remedy, where?, fault}}`. What has no code is our defect: logged whole, told without detail. */
export function installErrorHandler(app: FastifyInstance): void {
  app.setErrorHandler((thrown: unknown, request, reply) => {
    const error = toDatabaseError(fromFastify(thrown));
    if (isExplained(error)) return refuse(error, request, reply);
    request.log.error({ err: thrown }, 'a request failed for a reason that has no code');
    return reply.code(500).send({
      error: {
        code: 'INTERNAL_ERROR',
        what: 'The control plane failed to handle this request.',
        remedy: `This is a defect in Drover. Report it with the log lines of request ${request.id}.`,
        fault: 'bug',
      },
    });
  });
  app.setNotFoundHandler((request) => {
    throw new HttpError('ROUTE_UNKNOWN', `There is no ${request.method} ${request.url.slice(0, 200)}.`, {
      remedy: 'See /docs for what there is.',
    });
  });
}

const isExplained = (error: unknown): error is CodedError => error instanceof CodedError && error.fault !== 'bug';

function refuse(error: CodedError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const status = statusOf(error.code);
  request.log.info({ code: error.code, what: error.message, where: error.where }, 'refused a request');
  // The rest of a refused upload is not worth reading.
  if (status === 413) reply.header('connection', 'close');
  if (status === 401) {
    const scheme =
      request.routeOptions.config.access?.kind === 'device' ? 'Basic realm="drover device"' : 'Bearer realm="drover"';
    reply.header('www-authenticate', scheme);
  }
  return reply.code(status).send({ error: { ...error.toJSON(), fault: error.fault } });
}

const isFastifyError = (error: unknown): error is FastifyError =>
  error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number' && error.statusCode < 500;

function fromFastify(error: unknown): unknown {
  if (error instanceof CodedError || !isFastifyError(error)) return error;
  if (error.statusCode === 413) {
    return new HttpError('REQUEST_TOO_LARGE', 'The body of this request is too large.', {
      remedy: 'Send less at once; files go to /api/v1/blobs.',
      cause: error,
    });
  }
  if (error.statusCode === 415) {
    return new HttpError('REQUEST_MEDIA_TYPE', error.message, {
      remedy: 'Send JSON as application/json and files as application/octet-stream.',
      cause: error,
    });
  }
  return new HttpError('REQUEST_INVALID', describe(error), {
    remedy: 'Mend the named places; /docs shows the form.',
    cause: error,
  });
}

/** AJV's findings with their JSON pointers, all of them. */
function describe(error: FastifyError): string {
  if (!error.validation) return error.message;
  const part = error.validationContext ?? 'request';
  const findings = error.validation
    .filter(({ keyword }) => keyword !== 'anyOf')
    .map(({ instancePath, message, params }) => {
      const key = typeof params['additionalProperty'] === 'string' ? ` ("${params['additionalProperty']}")` : '';
      return `${part}${instancePath} ${message ?? 'is invalid'}${key}`;
    });
  return `${[...new Set(findings)].join('; ')}.`;
}
