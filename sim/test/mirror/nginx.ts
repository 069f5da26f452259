import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ControlPlaneProcess } from '../../src/fleet/control-plane-process.js';
import { until } from '../../src/fleet/wait.js';

/** Packages put it where only the administrator's shell looks. */
const ENVIRONMENT = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin` };

export const hasNginx = spawnSync('nginx', ['-v'], { env: ENVIRONMENT }).status === 0;

const SHIPPED = fileURLToPath(new URL('../../../firmware-images/mirror/drover-mirror.conf', import.meta.url));

export interface Nginx {
  readonly url: string;
  /** Lines of its access log: request, status, whether it came from the cache. */
  log(): string[];
  /** Takes in new files, as `systemctl reload nginx` does. */
  reload(): void;
  stop(): Promise<void>;
}

const replaced = (text: string, changes: readonly (readonly [string, string])[]): string =>
  changes.reduce((left, [from, to]) => {
    if (!left.includes(from)) throw new Error(`The shipped configuration does not have "${from}".`);
    return left.replaceAll(from, to);
  }, text);

/** The shipped configuration, with the lines of the site filled in as the operator's page says, in a real nginx. */
export async function startNginx(folder: string, controlPlane: ControlPlaneProcess, token: string): Promise<Nginx> {
  const [own, cache, port] = [join(folder, 'drover-mirror'), join(folder, 'cache'), await freePort()];
  for (const each of [own, cache]) mkdirSync(each, { recursive: true });
  const { operator } = controlPlane;
  execFileSync(
    'openssl',
    // prettier-ignore
    ['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=mirror',
     '-keyout', join(own, 'server.key'), '-out', join(own, 'server.csr')],
    { stdio: 'ignore' },
  );
  const { chain } = await operator.send<{ chain: string }>('POST', '/api/v1/server-certificates', {
    names: ['127.0.0.1'],
    request: readFileSync(join(own, 'server.csr'), 'utf8'),
    days: 30,
  });
  writeFileSync(join(own, 'server.crt'), chain);
  writeFileSync(join(own, 'token.conf'), `proxy_set_header Authorization "Bearer ${token}";\n`, { mode: 0o600 });
  await exportTrust(controlPlane, own);

  const upstream = new URL(controlPlane.httpUrl);
  const site = replaced(readFileSync(SHIPPED, 'utf8'), [
    ['/etc/drover-mirror', own],
    ['/var/cache/nginx/drover-mirror', cache],
    ['/var/log/nginx/drover-mirror.log', join(folder, 'access.log')],
    ['server control-plane.example:7070', `server ${upstream.host}`],
    ['proxy_ssl_name control-plane.example', 'proxy_ssl_name localhost'],
    ['listen 8443 ssl', `listen 127.0.0.1:${port} ssl`],
  ]);
  const configuration = join(folder, 'nginx.conf');
  writeFileSync(
    configuration,
    `daemon off; master_process on; worker_processes 1; pid ${join(folder, 'nginx.pid')}; error_log stderr warn;
     ${process.getuid?.() === 0 ? 'user root;' : ''}
     events {}
     http { ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${join(folder, kind)};`).join(' ')}\n${site} }`,
  );
  const child = spawn('nginx', ['-e', 'stderr', '-p', folder, '-c', configuration], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: ENVIRONMENT,
  });
  let errors = '';
  child.stderr.on('data', (text: Buffer) => (errors += text.toString()));
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const signal = new AbortController().signal;
  await until(
    () => {
      if (child.exitCode !== null) throw new Error(`nginx ended: ${errors}`);
      return listensOn(port);
    },
    { what: 'nginx to listen', timeoutMs: 10_000, signal, state: () => errors },
  );
  return {
    url: `https://127.0.0.1:${port}`,
    log: () => readFileSync(join(folder, 'access.log'), 'utf8').trim().split('\n'),
    reload: () => void child.kill('SIGHUP'),
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

/** As `drover ca export` writes them. */
export async function exportTrust({ operator }: ControlPlaneProcess, folder: string): Promise<void> {
  const trust = await operator.get<{ authorities: string; revocationLists: string }>(
    '/api/v1/certificate-authorities/trust',
  );
  writeFileSync(join(folder, 'ca.crt'), trust.authorities);
  writeFileSync(join(folder, 'revoked.crl'), trust.revocationLists);
}

const listensOn = (port: number): Promise<true | undefined> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true));
    socket.once('connect', () => socket.destroy()).once('error', () => resolve(undefined));
  });

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
