import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SecureWorld } from '../devices/secure-world.js';
import { makeRequest } from '../devices/signing-request.js';

/** Where distributions put it; not on the PATH of everybody. Undefined where it is not installed; .ci/run installs it. */
export const MOSQUITTO = ['mosquitto', '/usr/sbin/mosquitto', '/usr/local/sbin/mosquitto'].find((program) => {
  try {
    execFileSync(program, ['-h'], { stdio: 'ignore' });
    return true;
  } catch (error) {
    // It answers its help with status 3; only a program that is not there has no status.
    return typeof (error as { status?: unknown }).status === 'number';
  }
});
const shipped = (name: string) => new URL(`../../mosquitto/${name}`, import.meta.url).pathname;

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}

/** A stock Mosquitto with the files that we ship, in a folder of its own. */
export interface Mosquitto {
  readonly folder: string;
  readonly port: number;
  start(): Promise<void>;
  stop(): Promise<void>;
  /** SIGHUP, as `systemctl reload` does. */
  reload(): void;
  /** As `drover ca export` does. */
  exportTrust(): Promise<void>;
  remove(): Promise<void>;
}

export async function prepareMosquitto(world: SecureWorld, port: number): Promise<Mosquitto> {
  const folder = mkdtempSync(join(tmpdir(), 'drover-mosquitto-'));
  chmodSync(folder, 0o777);
  let broker: ChildProcess | undefined;
  const { request, key } = await makeRequest();
  const { body } = await world.call('/server-certificates', {
    body: { names: ['127.0.0.1'], request, days: 10 },
    token: true,
  });
  writeFileSync(join(folder, 'server.crt'), (body as { chain: string }).chain);
  writeFileSync(join(folder, 'server.key'), key);
  chmodSync(join(folder, 'server.key'), 0o644);
  copyFileSync(shipped('acl'), join(folder, 'acl'));
  const conf = readFileSync(shipped('mosquitto.conf'), 'utf8')
    .replace('listener 8883', `listener ${port} 127.0.0.1`)
    .replace('persistence_location /var/lib/mosquitto/', `persistence_location ${folder}/`)
    .replaceAll('/etc/mosquitto/drover', folder);
  writeFileSync(join(folder, 'mosquitto.conf'), conf);
  const mosquitto: Mosquitto = {
    folder,
    port,
    async exportTrust() {
      const answer = await world.call('/certificate-authorities/trust', { token: true });
      const trust = answer.body as { authorities: string; revocationLists: string };
      writeFileSync(join(folder, 'ca.crt'), trust.authorities);
      writeFileSync(join(folder, 'revoked.crl'), trust.revocationLists);
    },
    async start() {
      const child = spawn(MOSQUITTO ?? '', ['-c', join(folder, 'mosquitto.conf')], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      broker = child;
      await new Promise<void>((resolve, reject) => {
        let said = '';
        child.stderr.on('data', (part: Buffer) => {
          said += part.toString();
          if (said.includes('running')) resolve();
        });
        child.once('exit', (status) => reject(new Error(`mosquitto ended with ${String(status)}: ${said}`)));
      });
    },
    async stop() {
      const child = broker;
      if (!child) return;
      broker = undefined;
      const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
      child.kill('SIGTERM');
      await ended;
    },
    reload: () => void broker?.kill('SIGHUP'),
    async remove() {
      await mosquitto.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await mosquitto.exportTrust();
  return mosquitto;
}
