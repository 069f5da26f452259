import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { REQUEST_CODES, STATUS_OF } from '../../src/http/status.js';
import { createApp } from '../../src/app.js';
import { PUBLIC } from '../../src/http/index.js';
import { enrolmentFactsOf, errorCode, post, startFixture, type ControlPlaneFixture } from '../control-plane-fixture.js';
import { pino } from 'pino';

let fixture: ControlPlaneFixture;
beforeAll(async () => {
  fixture = await startFixture();
});
afterAll(() => fixture.close());

describe('when a code becomes a status', () => {
  it('knows every code that a request can meet, and no other', () => {
    expect(Object.keys(STATUS_OF).sort()).toEqual(Object.keys(REQUEST_CODES).sort());
  });

  it('blames whom the code blames', () => {
    for (const [code, { fault }] of Object.entries(REQUEST_CODES)) {
      // Whoever calls while the database is too new is not the one who started the old program.
      const blamesCaller = (fault === 'caller' || fault === 'peer') && code !== 'DATABASE_NEWER';
      expect({ code, clientError: STATUS_OF[code as keyof typeof STATUS_OF] < 500 }).toEqual({
        code,
        clientError: blamesCaller,
      });
    }
  });
});

describe('when a request is wrong', () => {
  it('names all bad places at once, and does not convert', async () => {
    const answer = await post(fixture, 'operator', '/claim-tokens', {
      attributes: { 'a b': 'x' },
      ttlMs: '60000',
      surprise: 1,
    });
    expect([answer.statusCode, errorCode(answer)]).toEqual([400, 'REQUEST_INVALID']);
    expect(answer.body).toContain('/ttlMs must be integer');
    expect(answer.body).toContain('surprise');
  });

  it('answers in the one form for bad JSON, unknown routes, large bodies and odd media', async () => {
    const headers = { ...(await fixture.token('admin')), 'content-type': 'application/json' };
    const send = async (payload: string, type = 'application/json') => {
      const answer = await fixture.app.inject({
        method: 'POST',
        url: '/api/v1/tokens',
        headers: { ...headers, 'content-type': type },
        payload,
      });
      return [answer.statusCode, errorCode(answer)];
    };
    expect(await send('{')).toEqual([400, 'REQUEST_INVALID']);
    expect(await send(JSON.stringify({ name: 'x'.repeat(300_000) }))).toEqual([413, 'REQUEST_TOO_LARGE']);
    expect(await send('a=b', 'application/x-www-form-urlencoded')).toEqual([415, 'REQUEST_MEDIA_TYPE']);
    const unknown = await fixture.app.inject({ url: '/api/v1/nothing' });
    expect([unknown.statusCode, errorCode(unknown)]).toEqual([404, 'ROUTE_UNKNOWN']);
  });

  it('carries a request id and headers that allow nothing', async () => {
    const answer = await fixture.app.inject({ url: '/healthz', headers: { 'x-request-id': 'chosen by the caller' } });
    expect(answer.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
    expect(answer.headers['content-security-policy']).toBe("default-src 'none'");
    expect(answer.headers['x-content-type-options']).toBe('nosniff');
    expect(answer.json()).toEqual({ status: 'ok', version: '0.0.0-test', time: fixture.clock.at });
  });
});

describe('when a handler fails without a code', () => {
  it('tells nothing of the inside', async () => {
    const app = createApp({
      db: fixture.db,
      blobs: fixture.blobs,
      repository: fixture.repository,
      now: Date.now,
      log: pino({ level: 'silent' }),
      version: '0',
      enrolment: enrolmentFactsOf('mqtt://x'),
      certificates: fixture.certificates,
      history: { isLostTime: () => Promise.resolve(false) },
      onRevoked: () => Promise.resolve(),
      reported: () => Promise.resolve(new Map()),
      metrics: [],
      routes: [
        (instance) => {
          instance.get('/broken', { config: { access: PUBLIC } }, () => {
            throw new Error('secret path /data/x');
          });
          return Promise.resolve();
        },
      ],
    });
    const answer = await app.inject({ url: '/api/v1/broken' });
    expect([answer.statusCode, errorCode(answer)]).toEqual([500, 'INTERNAL_ERROR']);
    expect(answer.body).not.toContain('secret');
    await app.close();
  });
});

describe('when somebody reads the documentation', () => {
  it('finds every route of the API with its error form', async () => {
    const answer = await fixture.app.inject({ url: '/docs/json' });
    const { paths } = answer.json<{ paths: Record<string, Record<string, { security?: unknown[] }>> }>();
    expect(Object.keys(paths)).toEqual(
      expect.arrayContaining([
        '/api/v1/repository/publications',
        '/api/v1/enrolments',
        '/api/v1/device/blobs/{digest}',
        '/metrics',
      ]),
    );
    expect(paths['/api/v1/repository/publications']?.['post']?.security).toEqual([{ token: ['publisher'] }]);
    const page = await fixture.app.inject({ url: '/docs/' });
    expect(page.statusCode).toBe(200);
  });
});
