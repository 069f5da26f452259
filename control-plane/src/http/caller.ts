import type { FastifyRequest } from 'fastify';
import type { DeviceId } from '@drover/shared/ids';
import type { Role } from '../governance/roles.js';

/** Who acts, as the audit log names them. Throws on a public route, which has nobody to name: a defect. */
export function actorOf(request: FastifyRequest): string {
  if (!request.caller) throw new Error(`${request.method} ${request.url} is public and has no actor.`);
  return request.caller.name;
}

/** The device that a `DEVICE` route is called by. */
export function deviceOf(request: FastifyRequest): DeviceId {
  if (request.caller?.kind !== 'device')
    throw new Error(`${request.method} ${request.url} was not called by a device.`);
  return request.caller.deviceId;
}

/** The token that a route with a role is called with. */
export function holderOf(request: FastifyRequest): { name: string; role: Role } {
  if (request.caller?.kind !== 'token')
    throw new Error(`${request.method} ${request.url} was not called with a token.`);
  return { name: request.caller.name, role: request.caller.role };
}
