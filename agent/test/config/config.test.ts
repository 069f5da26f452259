import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NAME_PATTERN } from '@drover/shared/ids';
import { agentVersion, deviceIdOf, readAgentConfig } from '../../src/config/index.js';

describe('readAgentConfig', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'drover-config-'))));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const file = (content: unknown): string => {
    const path = join(folder, 'agent.json');
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
    return path;
  };

  it('when nothing is configured, every key has its default', () => {
    expect(readAgentConfig(undefined, {})).toEqual({
      dataDir: '/var/lib/drover',
      hardwareClass: 'generic',
      attributes: {},
      serve: {
        host: '127.0.0.1',
        port: 8080,
        maxBodyMiB: 64,
        maxBatchDelayMs: 0,
        sharedMemory: false,
        providers: ['tensorrt', 'cuda', 'cpu'],
      },
      attach: { maxObservationsPerSecond: 2_000, models: {} },
      telemetry: { intervalMs: 60_000, maxSamples: 20_000 },
      proxy: { exceptions: [] },
      tls: {},
      outbox: { maxReports: 20_000, maxBytes: 50_000_000 },
      link: { keepaliveS: 60 },
      download: { minBytesPerSecond: 1024, mirrorMinBytesPerSecond: 16_384 },
      mirrors: [],
      learn: { adaptation: 'auto', memoryMiB: 512 },
      labels: { perDay: 0, maxOpen: 50, expireAfterDays: 14, randomShare: 0.5, driftFactor: 3, sendFeatures: false },
      log: { level: 'info' },
    });
  });

  it('when file and environment name the same key, the environment wins, and the others of the file stay', () => {
    const path = file({ serve: { port: 9000, host: '0.0.0.0' }, attributes: { site: 'north' } });
    const config = readAgentConfig(path, {
      DROVER_AGENT_SERVE_PORT: '9001',
      DROVER_AGENT_SERVE_PROVIDERS: 'cuda, cpu',
      DROVER_AGENT_LEARN_MEMORY_MIB: '256',
      DROVER_AGENT_TELEMETRY_INTERVAL_MS: '1000',
      DROVER_OTHER: 'is not of the agent',
    });
    expect(config.serve).toMatchObject({ port: 9001, host: '0.0.0.0', providers: ['cuda', 'cpu'] });
    expect(config).toMatchObject({
      attributes: { site: 'north' },
      learn: { memoryMiB: 256 },
      telemetry: { intervalMs: 1000 },
    });
  });

  it('when applications are attached, each has its defaults, and a hook that is none is refused', () => {
    const path = '/var/lib/drover-models/gas';
    const health = { http: 'http://127.0.0.1:9000/health' };
    const reload = { command: ['/usr/bin/systemctl', 'reload', 'gas'] };
    const read = (model: object) => readAgentConfig(file({ attach: { models: { gas: model } } }), {}).attach.models;
    expect(read({ path, health, reload })).toEqual({
      gas: {
        path,
        reload: { ...reload, timeoutMs: 30_000 },
        loadTimeoutMs: 60_000,
        health: { ...health, intervalMs: 5_000, timeoutMs: 5_000, failures: 3 },
        selfTest: 'probe',
      },
    });
    const refused = expect.objectContaining({ code: 'CONFIG_INVALID' }) as Error;
    expect(() => read({ path, reload: { signal: 'SIGKILL', pidFile: '/run/gas.pid' } })).toThrow(refused);
    expect(() => read({ path: 'relative' })).toThrow(refused);
  });

  it('when attributes come from the environment, they are pairs', () => {
    const config = readAgentConfig(undefined, { DROVER_AGENT_ATTRIBUTES: 'site=north,line=a=b' });
    expect(config.attributes).toEqual({ site: 'north', line: 'a=b' });
  });

  it('when keys of the file are unknown or wrong, all of them are named', () => {
    const path = file({ dataDirectory: '/x', serve: { prot: 1, port: 99_999 }, learn: { adaptation: 'yes' } });
    expect(() => readAgentConfig(path, {})).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: expect.stringMatching(
          /(?=.*dataDirectory)(?=.*prot)(?=.*serve\/port|.*serve\.port)(?=.*adaptation)/s,
        ) as unknown,
      }) as Error,
    );
  });

  it('when variables name no key, all of them are named', () => {
    const environment = { DROVER_AGENT_SERVE_PROT: '1', DROVER_AGENT_NAME: 'x', DROVER_AGENT_SERVE_PORT: '1' };
    expect(() => readAgentConfig(undefined, environment)).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: 'These variables name no configuration key: DROVER_AGENT_SERVE_PROT, DROVER_AGENT_NAME.',
      }) as Error,
    );
  });

  it.each([
    ['no JSON', '{', 'CONFIG_UNREADABLE'],
    ['no object', '[]', 'CONFIG_UNREADABLE'],
  ])('when the file is %s, it says so', (_, content, code) => {
    expect(() => readAgentConfig(file(content), {})).toThrow(expect.objectContaining({ code }) as Error);
  });

  it('when the file is missing, it says so', () => {
    expect(() => readAgentConfig(join(folder, 'none.json'), {})).toThrow(
      expect.objectContaining({ code: 'CONFIG_UNREADABLE' }) as Error,
    );
  });
});

describe('deviceIdOf', () => {
  it('when a device id is configured, that is it', () => {
    expect(deviceIdOf({ deviceId: 'pump-7' }, 'host')).toBe('pump-7');
  });

  it.each([
    ['Jetson-Nano.local', 'jetson-nano-local'],
    ['_pi_', 'pi'],
    [`${'a'.repeat(63)}-b`, 'a'.repeat(63)],
    ['K8s Node #4', 'k8s-node-4'],
  ])('when the host is called %s, the device is %s', (host, id) => {
    expect(deviceIdOf({}, host)).toBe(id);
  });

  it('whatever the host is called, the id is valid, or the error says what to set', () => {
    const hostName = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 100 }),
      fc.string({ unit: fc.constantFrom('-', '_', '.', 'a', 'B', '9', 'ü'), maxLength: 140 }),
    );
    fc.assert(
      fc.property(hostName, (host) => {
        let id: string;
        try {
          id = deviceIdOf({}, host);
        } catch (error) {
          expect(error).toMatchObject({
            code: 'CONFIG_INVALID',
            remedy: expect.stringContaining('deviceId') as unknown,
          });
          expect(host.toLowerCase()).not.toMatch(/[a-z0-9]/);
          return;
        }
        expect(id).toMatch(new RegExp(NAME_PATTERN));
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('agentVersion', () => {
  it('is what package.json says', () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    expect(agentVersion()).toBe(version);
  });
});
