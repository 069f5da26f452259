import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { openEnrolment } from '@drover/shared/protocol';
import { systemClock } from '../../src/host/index.js';
import { enrol, loadDeviceKey } from '../../src/identity/index.js';
import { openBroker, type Broker } from '../supervisor/agent-bench.js';
import { credential } from '../update/fixtures/release-server.js';
import {
  device,
  directorKey,
  hardwareClass,
  keySetOf,
  publishersRepository,
  unusedCertificate,
} from '../update/fixtures/releases.js';

const MAIN = new URL('../../dist/main.js', import.meta.url).pathname;

export interface CommandResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A `drover-agent run` that is ready. */
export interface RunningAgent {
  readonly child: ChildProcess;
  readonly servingUrl: string;
  /** Processes that it started and that live. */
  children(): number[];
  /** Lines of its log. */
  readonly log: string[];
  /** Exit status, or the name of the signal. */
  readonly exited: Promise<number | string>;
}

/** A device with a data folder of its own, a control plane that enrols it, and a broker that can come and go. */
export interface TestDevice {
  readonly dataDir: string;
  readonly controlPlaneUrl: string;
  readonly brokerPort: number;
  readonly environment: Record<string, string>;
  command(args: readonly string[], environment?: Record<string, string>): Promise<CommandResult>;
  enrol(): Promise<void>;
  startBroker(): Promise<Broker>;
  /** `run --json-ready` unless told otherwise. */
  spawn(environment?: Record<string, string>, args?: readonly string[]): ChildProcess;
  /** Rejects with what it said when it ends before it is ready. */
  start(environment?: Record<string, string>): Promise<RunningAgent>;
  close(): Promise<void>;
}

export async function openTestDevice(): Promise<TestDevice> {
  const folder = await mkdtemp(join(tmpdir(), 'drover-cli-'));
  const dataDir = join(folder, 'data');
  const closers: (() => Promise<unknown>)[] = [];
  const reserved = await listen();
  const { port: brokerPort } = reserved;
  await reserved.close();
  const controlPlane = await listen(`mqtt://127.0.0.1:${brokerPort}`);
  closers.push(() => controlPlane.close());
  const children = new Set<ChildProcess>();
  const environment = {
    PATH: `${withFakeSystemd(folder)}:${process.env['PATH'] ?? ''}`,
    DROVER_AGENT_DATA_DIR: dataDir,
    DROVER_AGENT_DEVICE_ID: device,
    DROVER_AGENT_SERVE_PORT: '0',
    DROVER_AGENT_SERVE_PROVIDERS: 'cpu',
    DROVER_AGENT_TELEMETRY_INTERVAL_MS: '200',
  };
  const test: TestDevice = {
    dataDir,
    controlPlaneUrl: controlPlane.url,
    brokerPort,
    environment,
    command: (args, more = {}) =>
      new Promise((resolve) => {
        const child = execFile(
          process.execPath,
          [MAIN, ...args],
          { env: { ...environment, ...more } },
          (_error, stdout, stderr) => resolve({ status: child.exitCode, stdout, stderr }),
        );
      }),
    async enrol() {
      await enrol({
        controlPlaneUrl: controlPlane.url,
        claimToken: 'a-claim-token-of-the-operator',
        deviceId: device,
        hardwareClass,
        attributes: {},
        pinnedRoot: publishersRepository().pinnedRoot,
        agentVersion: '0.1.0',
        dataDir,
        clock: systemClock,
      });
    },
    async startBroker() {
      const broker = await openBroker(await loadDeviceKey(dataDir), brokerPort);
      closers.push(() => broker.close());
      return broker;
    },
    spawn(more = {}, args = ['run', '--json-ready']) {
      const child = spawn(process.execPath, [MAIN, ...args], {
        env: { ...environment, ...more },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      children.add(child);
      child.once('exit', () => children.delete(child));
      return child;
    },
    start: (more = {}) => untilReady(test.spawn(more)),
    async close() {
      for (const child of children) await ended(child, 'SIGKILL');
      for (const close of closers.reverse()) await close();
      await rm(folder, { recursive: true, force: true });
    },
  };
  return test;
}

function untilReady(child: ChildProcess): Promise<RunningAgent> {
  const log: string[] = [];
  const exited = new Promise<number | string>((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  });
  return new Promise((resolve, reject) => {
    if (!child.stdout || !child.stderr) throw new Error('the agent has no output');
    createInterface({ input: child.stderr }).on('line', (line) => log.push(line));
    createInterface({ input: child.stdout }).once('line', (line) => {
      const { servingUrl } = JSON.parse(line) as { servingUrl: string };
      resolve({ child, servingUrl, children: () => childrenOf(child.pid ?? 0), log, exited });
    });
    void exited.then((ending) => reject(new Error(`ended with ${ending} before it was ready:\n${log.join('\n')}`)));
  });
}

/** Signals a child and waits for its end. */
export function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill(signal);
  });
}

export function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && parentOf(name) === pid)
    .map(Number);
}

const statusOf = (pid: string): string => {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return '';
  }
};
const parentOf = (pid: string): number => Number(/^PPid:\s+(\d+)$/m.exec(statusOf(pid))?.[1] ?? -1);
/** A zombie has ended; that nobody asked how is not its fault. */
export const isAlive = (pid: number): boolean => /^State:\s+[^ZX]/m.test(statusOf(String(pid)));

/** So that doctor finds the same on every machine. */
function withFakeSystemd(folder: string): string {
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  writeFileSync(join(bin, 'systemd-notify'), '#!/bin/sh\nexit 0\n');
  chmodSync(join(bin, 'systemd-notify'), 0o755);
  return bin;
}

async function listen(brokerUrl = ''): Promise<{ url: string; port: number; close(): Promise<void> }> {
  const grant = {
    protocol: 1,
    deviceId: device,
    credential,
    identity: unusedCertificate,
    director: keySetOf(directorKey),
    brokerUrl,
    epoch: 1,
  };
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      if (request.url === '/healthz') response.end('{}');
      else if (request.url !== '/api/v1/enrolments') response.writeHead(404).end();
      else if (openEnrolment(Buffer.concat(parts)).claimToken.startsWith('a-claim-token'))
        response.writeHead(201).end(JSON.stringify(grant));
      else {
        const error = { code: 'CLAIM_TOKEN_UNKNOWN', what: 'No such token.', remedy: 'Make a token.' };
        response.writeHead(403).end(JSON.stringify({ error }));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
