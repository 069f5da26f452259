import type { X509Certificate } from 'node:crypto';
import { TLSSocket } from 'node:tls';
import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify';
import type { DeviceId } from '@drover/shared/ids';
import { roleIncludes, type TokenHolder } from '../governance/index.js';
import type { Role } from '../governance/roles.js';
import type { CertificateHolder } from '../broker/index.js';
import { CONTENT_ROLES, type Access, type Caller } from './access.js';
import { HttpError } from './errors.js';

export interface Credentials {
  holderOf(token: string): Promise<TokenHolder | undefined>;
  authenticateDevice(id: string, credential: string): Promise<{ id: DeviceId } | undefined>;
  holderOfCertificate(certificate: X509Certificate): Promise<CertificateHolder>;
}

/**
 * Default deny. A route without declared access stops the start (`onReady`), and should one ever get past that, its requests are
 * refused. Runs before bodies are read, so that a stranger cannot make the server parse anything.
 */
export function installAuthentication(app: FastifyInstance, credentials: Credentials): void {
  const declared: RouteOptions[] = [];
  app.decorateRequest('caller', undefined);
  app.addHook('onRoute', (route) => {
    declared.push(route);
  });
  app.addHook('onReady', (done) => {
    const open = declared.filter((route) => route.config?.access === undefined);
    const names = open.map(({ method, url }) => `${String(method)} ${url}`).join(', ');
    done(open.length === 0 ? undefined : new Error(`These routes declare no access: ${names}.`));
  });
  app.addHook('onRequest', async (request) => {
    if (request.is404) return;
    request.caller = await authenticate(request, request.routeOptions.config.access, credentials);
  });
}

async function authenticate(
  request: FastifyRequest,
  access: Access | undefined,
  credentials: Credentials,
): Promise<Caller | undefined> {
  switch (access?.kind) {
    case 'public':
      return undefined;
    case 'role':
      return byToken(request, [access.role], credentials);
    case 'roles':
      return byToken(request, access.roles, credentials);
    case 'device':
      return byDevice(request, credentials);
    case 'content':
      return isBearer(request) ? byToken(request, CONTENT_ROLES, credentials) : byDevice(request, credentials);
    case undefined:
      throw new HttpError('AUTH_FORBIDDEN', 'This route declares no access, so nobody may use it.', {
        remedy: 'This is a defect in Drover; report it.',
      });
  }
}

const isBearer = ({ headers }: FastifyRequest): boolean => /^Bearer /i.test(headers.authorization ?? '');

async function byToken(request: FastifyRequest, roles: readonly Role[], credentials: Credentials): Promise<Caller> {
  const token = /^Bearer ([\x21-\x7e]{1,500})$/i.exec(request.headers.authorization ?? '')?.[1];
  if (token === undefined)
    throw required('an access token ("Authorization: Bearer TOKEN")', '`drover login URL --token TOKEN`');
  const holder = await credentials.holderOf(token);
  if (!holder)
    throw invalid('This access token is not known.', 'Ask an administrator for a token, then `drover login` again.');
  if (roles.some((role) => roleIncludes(holder.role, role)))
    return { kind: 'token', name: holder.name, role: holder.role };
  const needed = roles.join(' or ');
  throw new HttpError(
    'AUTH_FORBIDDEN',
    `This needs the role ${needed}; the token "${holder.name}" has the role ${holder.role}.`,
    { remedy: `Ask an administrator for a token with the role ${needed}.` },
  );
}

async function byDevice(request: FastifyRequest, credentials: Credentials): Promise<Caller> {
  const id = await (request.raw.socket instanceof TLSSocket
    ? byCertificate(request.raw.socket, credentials)
    : byPassword(request.headers.authorization, credentials));
  return { kind: 'device', name: id, deviceId: id };
}

/** docs/protocol.md, section 8: over TLS a device shows its certificate, and a password is not looked at. */
async function byCertificate(socket: TLSSocket, credentials: Credentials): Promise<DeviceId> {
  const certificate = socket.getPeerX509Certificate();
  if (!certificate)
    throw required('the certificate of a device', 'the certificate that enrolment returned, in the TLS handshake');
  const holder = await credentials.holderOfCertificate(certificate);
  if (holder.kind === 'device') return holder.id;
  const why = holder.kind === 'refused' ? holder.why : 'it is not that of a device';
  throw invalid(
    `This certificate does not hold: ${why}.`,
    'A device renews it by itself; one that was revoked must enrol anew.',
  );
}

async function byPassword(header: string | undefined, credentials: Credentials): Promise<DeviceId> {
  const [id, credential] = basic(header);
  if (id === undefined || credential === undefined) {
    throw required(
      'the credential of a device (HTTP Basic, user name = device id)',
      'the credential that enrolment returned',
    );
  }
  const device = await credentials.authenticateDevice(id, credential);
  if (device) return device.id;
  throw invalid('This device credential does not hold.', 'Enrol the device again with a new claim token.');
}

/** RFC 7617: everything after the first colon is the password. */
function basic(header: string | undefined): [string | undefined, string | undefined] {
  const encoded = /^Basic ([A-Za-z0-9+/=]{1,1000})$/i.exec(header ?? '')?.[1];
  if (encoded === undefined) return [undefined, undefined];
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? [undefined, undefined] : [text.slice(0, colon), text.slice(colon + 1)];
}

const required = (what: string, how: string) =>
  new HttpError('AUTH_REQUIRED', `This needs ${what}.`, { remedy: `Use ${how}.` });
const invalid = (what: string, remedy: string) => new HttpError('AUTH_INVALID', what, { remedy });
