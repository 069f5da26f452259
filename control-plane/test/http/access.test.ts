import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HTTPMethods, InjectOptions, RouteOptions } from 'fastify';
import { pino } from 'pino';
import { createApp, type AppDependencies } from '../../src/app.js';
import { ROLES, roleIncludes, type Role } from '../../src/governance/index.js';
import { enrolmentFactsOf, startFixture, type ControlPlaneFixture } from '../control-plane-fixture.js';

let fixture: ControlPlaneFixture;
let routes: readonly RouteOptions[];

const silent = pino({ level: 'silent' });
const dependencies = (): AppDependencies => ({
  db: fixture.db,
  blobs: fixture.blobs,
  repository: fixture.repository,
  now: Date.now,
  log: silent,
  version: '0.0.0-test',
  enrolment: enrolmentFactsOf('mqtt://127.0.0.1'),
  certificates: fixture.certificates,
  history: { isLostTime: () => Promise.resolve(false) },
  onRevoked: () => Promise.resolve(),
  reported: () => Promise.resolve(new Map()),
  routes: [],
  metrics: [],
});

beforeAll(async () => {
  fixture = await startFixture();
  ({ routes } = fixture);
});
afterAll(() => fixture.close());

const methodsOf = ({ method }: RouteOptions): HTTPMethods[] => (Array.isArray(method) ? method : [method]);
const fill = (url: string) =>
  url
    .replace(':digest', 'a'.repeat(64))
    .replace(':model', 'some-model')
    .replace(':version', '1.0.0')
    .replace(':id', 'some-id');

async function request(route: RouteOptions, method: HTTPMethods, headers: Record<string, string>) {
  return fixture.app.inject({ method: method as NonNullable<InjectOptions['method']>, url: fill(route.url), headers });
}

describe('when a route is called', () => {
  it('knows the access of each of them', () => {
    expect(routes.length).toBeGreaterThan(30);
    expect(routes.filter(({ config }) => config?.access === undefined)).toEqual([]);
  });

  it('refuses strangers everywhere but on public routes', async () => {
    for (const route of routes) {
      for (const method of methodsOf(route)) {
        for (const headers of [
          {},
          { authorization: 'Bearer wrong' },
          { authorization: `Basic ${btoa('some-id:wrong')}` },
        ]) {
          const { statusCode } = await request(route, method, headers);
          const refused = statusCode === 401;
          expect({ method, url: route.url, refused }).toEqual({
            method,
            url: route.url,
            refused: route.config?.access?.kind !== 'public',
          });
        }
      }
    }
  });

  it('lets each role exactly where it may go', async () => {
    for (const role of ROLES) {
      const headers = await fixture.token(role);
      for (const route of routes) {
        const access = route.config?.access;
        if (access?.kind !== 'role') continue;
        for (const method of methodsOf(route)) {
          const { statusCode } = await request(route, method, headers);
          const allowed = statusCode !== 403;
          expect({ role, method, url: route.url, allowed }).toEqual({
            role,
            method,
            url: route.url,
            allowed: roleIncludes(role, access.role),
          });
        }
      }
    }
  });

  it('lets no viewer change anything', () => {
    const changing = routes.filter((route) => methodsOf(route).some((method) => !['GET', 'HEAD'].includes(method)));
    const open = changing.filter(({ config }) => config?.access?.kind !== 'role' || config.access.role === 'viewer');
    expect(open.map(({ url }) => url)).toEqual([
      '/api/v1/enrolments',
      '/api/v1/certificate-renewals',
      '/api/v1/readmissions',
    ]);
  });

  it('lets a labeller see who it is and what is to be labelled, and nothing else', async () => {
    const headers = await fixture.token('labeller');
    const allowed: string[] = [];
    for (const route of routes.filter(({ config }) => config?.access?.kind !== 'public')) {
      for (const method of methodsOf(route)) {
        const { statusCode } = await request(route, method, headers);
        if (![401, 403].includes(statusCode) && method !== 'HEAD') allowed.push(`${method} ${route.url}`);
      }
    }
    expect(allowed).toEqual([
      'GET /api/v1/whoami',
      'GET /api/v1/label-requests',
      'GET /api/v1/label-requests/:id',
      'POST /api/v1/label-requests/:id/answer',
      'POST /api/v1/label-answers',
    ]);
  });

  it('lets everybody but mirrors see what is open to several roles', async () => {
    const shared = routes.filter(({ config }) => config?.access?.kind === 'roles');
    for (const role of ROLES) {
      const headers = await fixture.token(role);
      for (const route of shared) {
        for (const method of methodsOf(route)) {
          expect(['GET', 'HEAD']).toContain(method);
          const { statusCode } = await request(route, method, headers);
          expect({ role, url: route.url, allowed: statusCode !== 403 }).toEqual({
            role,
            url: route.url,
            allowed: role !== 'mirror',
          });
        }
      }
    }
  });

  it('lets devices, mirrors and operators read releases, and nobody else', async () => {
    const content = routes.filter(({ config }) => config?.access?.kind === 'content');
    expect(content.length).toBeGreaterThan(4);
    for (const role of ROLES) {
      const headers = await fixture.token(role);
      for (const route of content) {
        for (const method of methodsOf(route)) {
          expect(['GET', 'HEAD']).toContain(method);
          const { statusCode } = await request(route, method, headers);
          const allowed = statusCode !== 403;
          expect({ role, url: route.url, allowed }).toEqual({
            role,
            url: route.url,
            allowed: ['mirror', 'operator', 'admin'].includes(role),
          });
        }
      }
    }
  });

  it('lets no token pass as a device', async () => {
    const headers = await fixture.token('admin');
    for (const route of routes.filter(({ config }) => config?.access?.kind === 'device')) {
      for (const method of methodsOf(route)) expect((await request(route, method, headers)).statusCode).toBe(401);
    }
  });
});

describe('when roles are compared', () => {
  it('keeps publishing and operating apart', () => {
    const held = (role: Role) => ROLES.filter((needed) => roleIncludes(role, needed));
    expect(held('viewer')).toEqual(['viewer']);
    expect(held('publisher')).toEqual(['viewer', 'publisher']);
    expect(held('operator')).toEqual(['viewer', 'operator', 'labeller']);
    expect(held('labeller')).toEqual(['labeller']);
    expect(held('mirror')).toEqual(['mirror']);
    expect(held('admin')).toEqual([...ROLES]);
  });
});

describe('when a route declares no access', () => {
  it('does not start', async () => {
    const app = createApp({
      ...dependencies(),
      routes: [
        (instance) => {
          instance.get('/forgotten', () => 'open');
          return Promise.resolve();
        },
      ],
    });
    await expect(app.ready()).rejects.toThrow('GET /api/v1/forgotten');
    await app.close().catch(() => undefined);
  });
});
