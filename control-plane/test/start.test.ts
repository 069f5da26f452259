import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { createKeyPair } from '@drover/shared/trust';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readControlPlaneConfiguration, type ControlPlaneConfiguration } from '../src/config.js';
import { loadDirectorKey } from '../src/director-key.js';
import { startControlPlane } from '../src/start.js';
import { enrolmentOf } from './control-plane-fixture.js';
import { runControlPlane, startControlPlaneProcess } from './control-plane-process.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'drover-start-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const configurationWith = (environment: Record<string, string>): ControlPlaneConfiguration =>
  readControlPlaneConfiguration(undefined, {
    DROVER_DATA_DIR: join(directory, 'data'),
    DROVER_HTTP_PORT: '0',
    DROVER_MQTT_PORT: '0',
    ...environment,
  });
const start = (environment: Record<string, string> = {}, rebuildDatabase = false) =>
  startControlPlane({
    configuration: configurationWith(environment),
    version: '0.0.0-test',
    log: pino({ level: 'silent' }),
    rebuildDatabase,
  });

async function occupied(): Promise<{ server: Server; port: string }> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: String((server.address() as AddressInfo).port) };
}

describe('when the configuration is read', () => {
  it('has defaults, takes a file, and lets the environment go over it', () => {
    const file = join(directory, 'control-plane.json');
    writeFileSync(file, JSON.stringify({ http: { port: 8080 }, mqtt: { host: '0.0.0.0' } }));
    expect(readControlPlaneConfiguration(undefined, {})).toEqual({
      dataDir: 'drover-data',
      http: { host: '127.0.0.1', port: 7070 },
      mqtt: { host: '127.0.0.1' },
      tls: { mode: 'auto', names: [], deviceCertificateDays: 90 },
      packs: { maxCacheBytes: 4 * 1024 ** 3, maxComputing: 1 },
      logLevel: 'warn',
      maxBlobBytes: 16 * 1024 ** 3,
    });
    const read = readControlPlaneConfiguration(file, {
      DROVER_HTTP_PORT: '9090',
      DROVER_PUBLIC_BROKER_URL: 'mqtts://broker.example',
      DROVER_URL: 'for the command line',
      DROVER_AGENT_DATA_DIR: 'for the agent',
    });
    expect(read).toMatchObject({
      http: { host: '127.0.0.1', port: 9090 },
      mqtt: { host: '0.0.0.0' },
      publicBrokerUrl: 'mqtts://broker.example',
    });
  });

  it('names every bad place at once', () => {
    const file = join(directory, 'control-plane.json');
    writeFileSync(
      file,
      JSON.stringify({ http: { prot: 1 }, mqtt: { port: 70_000 }, dataDir: '', adminToken: 'short', surprise: true }),
    );
    let thrown: unknown;
    try {
      readControlPlaneConfiguration(file, { DROVER_LOG_LEVEL: 'loud' });
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: 'CONFIG_INVALID' });
    for (const place of ['/http', '/mqtt/port', '/dataDir', '/adminToken', '/surprise', '/logLevel'])
      expect(String(thrown)).toContain(place);
  });
});

describe('when the control plane starts', () => {
  it('makes a key that only it can read, shows its first token once, and serves', async () => {
    const first = await start();
    expect(statSync(join(directory, 'data', 'director.key')).mode & 0o777).toBe(0o600);
    const key = readFileSync(join(directory, 'data', 'director.key'), 'utf8');
    const who = await fetch(`${first.httpUrl}/api/v1/whoami`, {
      headers: { authorization: `Bearer ${first.adminToken ?? ''}` },
    });
    expect(await who.json()).toMatchObject({ role: 'admin' });
    await first.close();
    await first.close();

    const second = await start();
    expect(second.adminToken).toBeUndefined();
    expect(readFileSync(join(directory, 'data', 'director.key'), 'utf8')).toBe(key);
    const metrics = await fetch(`${second.httpUrl}/metrics`, {
      headers: { authorization: `Bearer ${first.adminToken ?? ''}` },
    });
    const text = await metrics.text();
    for (const name of ['drover_devices', 'drover_releases', 'drover_rollouts', 'drover_reports_stored'])
      expect(text).toContain(name);
    await second.close();
    await expect(fetch(`${second.httpUrl}/healthz`)).rejects.toThrow();
  });

  it('takes the token of the configuration, and a changed one instead of it', async () => {
    const status = async (url: string, token: string) =>
      (await fetch(`${url}/api/v1/tokens`, { headers: { authorization: `Bearer ${token}` } })).status;
    const first = await start({ DROVER_ADMIN_TOKEN: 'the-first-configured-token' });
    expect(first.adminToken).toBeUndefined();
    expect(await status(first.httpUrl, 'the-first-configured-token')).toBe(200);
    await first.close();
    const second = await start({ DROVER_ADMIN_TOKEN: 'the-second-configured-token' });
    expect(await status(second.httpUrl, 'the-second-configured-token')).toBe(200);
    expect(await status(second.httpUrl, 'the-first-configured-token')).toBe(401);
    await second.close();
  });
});

describe('when the broker listens on every address', () => {
  it('tells a device the name that it reached the control plane by', async () => {
    const controlPlane = await start({ DROVER_MQTT_HOST: '0.0.0.0' });
    const post = async (path: string, body: object) => {
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${controlPlane.adminToken ?? ''}` };
      const url = `${controlPlane.httpUrl.replace('127.0.0.1', 'localhost')}/api/v1${path}`;
      return (await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })).json();
    };
    const { claimToken } = (await post('/claim-tokens', { attributes: {}, ttlMs: 60_000 })) as { claimToken: string };
    const grant = (await post('/enrolments', enrolmentOf(createKeyPair(), claimToken, 'cam-01'))) as {
      brokerUrl: string;
    };
    expect(grant.brokerUrl).toBe(`mqtts://localhost:${new URL(controlPlane.mqttUrl).port}`);
    await controlPlane.close();
  });
});

describe('when the key of the director is lost', () => {
  it('refuses to make another one that no enrolled device would trust', async () => {
    const controlPlane = await start();
    await controlPlane.close();
    const key = join(directory, 'data', 'director.key');
    rmSync(key);
    await (await start()).close();
    expect(() => loadDirectorKey(join(directory, 'elsewhere.key'), 1)).toThrow(
      expect.objectContaining({ code: 'DIRECTOR_KEY_MISSING' }),
    );
  });
});

describe('when it cannot start', () => {
  it('keeps off a data directory that another control plane works on, until that one has ended', async () => {
    const first = await start();
    await expect(start()).rejects.toMatchObject({ code: 'DATA_DIR_IN_USE' });
    expect((await fetch(`${first.httpUrl}/healthz`)).status).toBe(200);
    await first.close();
    await (await start()).close();
  });

  it('names the port that is in use, for HTTP and for MQTT, and leaves nothing running', async () => {
    const { server, port } = await occupied();
    await expect(start({ DROVER_HTTP_PORT: port })).rejects.toMatchObject({ code: 'PORT_IN_USE', where: 'http.port' });
    await expect(start({ DROVER_MQTT_PORT: port })).rejects.toMatchObject({ code: 'PORT_IN_USE' });
    server.close();
    await once(server, 'close');
    const again = await start({ DROVER_HTTP_PORT: port });
    await again.close();
  });

  it('refuses an address that is not of this machine', async () => {
    await expect(start({ DROVER_HTTP_HOST: '192.0.2.1' })).rejects.toMatchObject({ code: 'ADDRESS_UNAVAILABLE' });
  });

  it('refuses a data directory that cannot be made', async () => {
    writeFileSync(join(directory, 'file'), '');
    await expect(start({ DROVER_DATA_DIR: join(directory, 'file', 'data') })).rejects.toMatchObject({
      code: 'DATA_DIR_UNAVAILABLE',
    });
  });

  it('refuses a damaged database, and begins anew only when told', async () => {
    await (await start()).close();
    writeFileSync(join(directory, 'data', 'control-plane.sqlite'), 'not a database at all');
    await expect(start()).rejects.toMatchObject({ code: 'DATABASE_CORRUPT' });
    const rebuilt = await start({}, true);
    expect(rebuilt.incidents.map(({ code }) => code)).toEqual(['DATABASE_CORRUPT_REBUILT']);
    const log = await fetch(`${rebuilt.httpUrl}/api/v1/audit`, {
      headers: { authorization: `Bearer ${rebuilt.adminToken ?? ''}` },
    });
    expect(await log.text()).toContain('DATABASE_CORRUPT_REBUILT');
    const recovery = await fetch(`${rebuilt.httpUrl}/api/v1/recovery`, {
      headers: { authorization: `Bearer ${rebuilt.adminToken ?? ''}` },
    });
    expect(await recovery.json()).toMatchObject({ pending: { reason: 'The database was damaged and begun anew' } });
    expect(readdirSync(join(directory, 'data')).some((name) => name.includes('.corrupt-'))).toBe(true);
    await rebuilt.close();
  });

  it('tells it on the error output and exits 1; wrong arguments exit 2', async () => {
    const { server, port } = await occupied();
    const busy = await runControlPlane([], {
      DROVER_DATA_DIR: join(directory, 'data'),
      DROVER_HTTP_PORT: port,
      DROVER_MQTT_PORT: '0',
    });
    server.close();
    expect([busy.code, busy.stdout]).toEqual([1, '']);
    expect(busy.stderr).toMatch(/^PORT_IN_USE: .*\n {2}where: .*\n {2}do: .*\n$/);
    const wrong = await runControlPlane(['--surprise'], {});
    expect([wrong.code, wrong.stderr.split(':')[0]]).toEqual([2, 'ARGUMENTS_INVALID']);
  });
});

describe('when it is told to stop', () => {
  it('closes in order and exits 0', async () => {
    const running = await startControlPlaneProcess();
    expect(await running.stop()).toBe(0);
  });
});
