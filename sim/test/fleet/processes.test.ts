import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { ModelName } from '@drover/shared/ids';
import { startApplication } from '../../src/fleet/application.js';
import { startProcess } from '../../src/fleet/child-process.js';
import { operatorOf } from '../../src/fleet/operator.js';
import { until } from '../../src/fleet/wait.js';

const signal = new AbortController().signal;

describe('when a process is started', () => {
  const folder = mkdtempSync(join(tmpdir(), 'drover-process-'));
  const start = (name: string, code: string, readyTimeoutMs = 5_000) => {
    const script = join(folder, `${name}.mjs`);
    writeFileSync(script, code);
    return startProcess<{ url: string }>({ name, script, args: [], environment: {}, readyTimeoutMs });
  };

  it('hands over what it says when it is ready, and ends when it is told to', async () => {
    const child = await start(
      'good',
      `console.log('noise'); console.log('{"event":"ready","url":"u"}'); setInterval(() => {}, 1000);`,
    );
    expect(child.ready.url).toBe('u');
    await child.stop();
    expect(() => process.kill(child.pid, 0)).toThrow();
  });

  it('says with its last words why it was never ready', async () => {
    await expect(start('bad', `console.error('the disk is full'); process.exit(3);`)).rejects.toMatchObject({
      code: 'PROCESS_NOT_READY',
      message: expect.stringMatching(/status 3[\s\S]*the disk is full/) as string,
    });
  });

  it('is not waited for without end', async () => {
    await expect(start('silent', 'setInterval(() => {}, 1000);', 300)).rejects.toMatchObject({
      code: 'PROCESS_NOT_READY',
    });
  });
});

describe('when the control plane or an agent is asked', () => {
  const servers: { close(): void }[] = [];
  const serve = async (answer: (url: string, body: string) => [number, unknown]) => {
    const server = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (text: string) => (body += text));
      request.on('end', () => {
        const [status, json] = answer(request.url ?? '', body);
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    servers.push(server);
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  afterEach(() => servers.splice(0).forEach((server) => server.close()));

  it('keeps the words of a refusal', async () => {
    const url = await serve(() => [
      409,
      { error: { code: 'RELEASE_EXISTS', what: 'It is there.', remedy: 'Take 1.0.1.' } },
    ]);
    await expect(operatorOf(url, 't').send('POST', '/x', {})).rejects.toMatchObject({
      code: 'CONTROL_PLANE_REFUSED',
      remedy: 'Take 1.0.1.',
      message: expect.stringContaining('RELEASE_EXISTS') as string,
    });
  });

  it('counts what an application was answered, and sends the truth back under the id of the request', async () => {
    const feedback: unknown[] = [];
    const url = await serve((path, body) => {
      if (path.endsWith('/feedback')) return [202, { seen: feedback.push(JSON.parse(body)) }];
      return [200, { id: 'r1', outputs: [{ name: 'p', shape: [2, 2], data: [0.9, 0.1, 0.9, 0.1] }] }];
    });
    const application = startApplication({
      endpoint: () => url,
      model: ModelName('m'),
      inputName: 'x',
      scoresName: 'p',
      intervalMs: 1_000,
      labelled: true,
      next: () => ({ features: new Float32Array(2), labels: Int32Array.from([0, 1]), count: 2, width: 1 }),
    });
    await until(() => (feedback.length > 0 ? true : undefined), {
      what: 'feedback',
      timeoutMs: 5_000,
      everyMs: 10,
      signal,
    });
    await application.stop();
    expect(feedback[0]).toEqual({ id: 'r1', labels: [0, 1] });
    expect(application.counts).toMatchObject({ requests: 1, failures: 0, rows: 2, correct: 1 });
  });

  it('counts a failure only after the first answer', async () => {
    let calls = 0;
    const url = await serve(() => {
      calls += 1;
      return calls === 2
        ? [200, { id: 'r', outputs: [{ name: 'p', shape: [1, 2], data: [1, 0] }] }]
        : [404, { error: 'no model' }];
    });
    const application = startApplication({
      endpoint: () => url,
      model: ModelName('m'),
      inputName: 'x',
      scoresName: 'p',
      intervalMs: 1,
      labelled: false,
      next: () => ({ features: new Float32Array(1), labels: Int32Array.from([0]), count: 1, width: 1 }),
    });
    await until(() => (calls >= 4 ? true : undefined), { what: 'four calls', timeoutMs: 5_000, everyMs: 5, signal });
    await application.stop();
    expect(application.counts).toMatchObject({ requests: 1, failures: calls - 2 });
  });
});

describe('when something is waited for', () => {
  it('says what was waited for in vain, and what was seen last', async () => {
    await expect(
      until(() => undefined, { what: 'rain', timeoutMs: 20, everyMs: 5, signal, state: () => 'sun' }),
    ).rejects.toMatchObject({
      code: 'WAITED_IN_VAIN',
      message: expect.stringMatching(/in vain for rain.*Last seen: sun/) as string,
    });
  });

  it('stops when it is told to', async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(new Error('enough')), 10);
    await expect(
      until(() => undefined, { what: 'rain', timeoutMs: 10_000, everyMs: 5, signal: stop.signal }),
    ).rejects.toThrow();
  });
});
