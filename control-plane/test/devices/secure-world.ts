import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { pino } from 'pino';
import type { DeviceId } from '@drover/shared/ids';
import { signRenewal, type DeviceCertificate, type EnrolmentGrant } from '@drover/shared/protocol';
import { createKeyPair, occasionalSigner, toSigningKey, type KeyPair } from '@drover/shared/trust';
import { Authorities } from '../../src/certificate-authority/index.js';
import { issueServiceCertificate } from '../../src/certificate-authority/issue.js';
import { CURVE, webcrypto, x509 } from '../../src/certificate-authority/x509.js';
import { readControlPlaneConfiguration } from '../../src/config.js';
import { startControlPlane, type ControlPlane } from '../../src/start.js';
import { enrolmentOf } from '../control-plane-fixture.js';

export interface SecureAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** A device as far as its links go: a key, and what enrolment gave it. */
export interface Enrolled {
  readonly id: DeviceId;
  readonly key: KeyPair;
  readonly grant: EnrolmentGrant;
}

export interface Shown {
  readonly cert: string;
  readonly key: string;
}

export const keyPem = (key: KeyPair): string =>
  toSigningKey(key.seed).export({ format: 'pem', type: 'pkcs8' }).toString();
export const shownBy = ({ key, grant }: Enrolled): Shown => ({ cert: grant.identity.certificate, key: keyPem(key) });

/** A control plane that speaks TLS on both listeners, and clients that believe its authority. */
export interface SecureWorld {
  readonly controlPlane: ControlPlane;
  /** Milliseconds that its clock is ahead. */
  readonly clock: { aheadMs: number };
  readonly ca: () => string;
  call(
    path: string,
    options?: { body?: object; token?: boolean; shown?: Shown; basic?: string },
  ): Promise<SecureAnswer>;
  enrol(id: string, key?: KeyPair): Promise<Enrolled>;
  /** A certificate for the account `service`, by our authority. */
  serviceAccount(): Promise<Shown>;
  renew(device: Enrolled): Promise<SecureAnswer & { renewed: DeviceCertificate }>;
  mqtt(options: IClientOptions & { url?: string }): Promise<MqttClient>;
  asDevice(device: Enrolled, options?: IClientOptions & { url?: string }): Promise<MqttClient>;
  webSocketUrl(): string;
  close(): Promise<void>;
}

const ADMIN = 'a-token-for-tests-only';
export const SERVICE_PASSWORD = 'of-the-service-account';

export async function createSecureWorld(environment: Record<string, string> = {}): Promise<SecureWorld> {
  const directory = mkdtempSync(join(tmpdir(), 'drover-secure-'));
  const clock = { aheadMs: 0 };
  const controlPlane = await startControlPlane({
    configuration: readControlPlaneConfiguration(undefined, {
      DROVER_DATA_DIR: directory,
      DROVER_HTTP_PORT: '0',
      DROVER_MQTT_PORT: '0',
      DROVER_TLS_MODE: 'on',
      DROVER_ADMIN_TOKEN: ADMIN,
      DROVER_BROKER_SERVICE_PASSWORD: SERVICE_PASSWORD,
      ...environment,
    }),
    version: '0.0.0-test',
    log: pino({ level: 'silent' }),
    rebuildDatabase: false,
    now: () => Date.now() + clock.aheadMs,
  });
  const clients: MqttClient[] = [];
  const ca = () => readFileSync(join(directory, 'certificate-authority', '1.crt'), 'utf8');

  const world: SecureWorld = {
    controlPlane,
    clock,
    ca,
    call: (path, { body, token, shown, basic } = {}) =>
      new Promise((resolve, reject) => {
        const asked = request(
          `${controlPlane.httpUrl}/api/v1${path}`,
          {
            method: body ? 'POST' : 'GET',
            ca: ca(),
            agent: false,
            ...shown,
            headers: {
              ...(body ? { 'content-type': 'application/json' } : {}),
              ...(token ? { authorization: `Bearer ${ADMIN}` } : {}),
              ...(basic === undefined ? {} : { authorization: `Basic ${Buffer.from(basic).toString('base64')}` }),
            },
          },
          (answer) => {
            let text = '';
            answer.on('data', (part: Buffer) => (text += part.toString()));
            answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: JSON.parse(text) as unknown }));
          },
        );
        asked.on('error', reject);
        asked.end(body ? JSON.stringify(body) : undefined);
      }),
    async enrol(id, key = createKeyPair()) {
      const made = await world.call('/claim-tokens', { body: { attributes: {}, ttlMs: 60_000 }, token: true });
      const { claimToken } = made.body as { claimToken: string };
      const { status, body } = await world.call('/enrolments', { body: enrolmentOf(key, claimToken, id) });
      if (status !== 201) throw new Error(JSON.stringify(body));
      return { id: id as DeviceId, key, grant: body as EnrolmentGrant };
    },
    async serviceAccount() {
      const authorities = await Authorities.open(join(directory, 'certificate-authority'), Date.now);
      const keys = await webcrypto.subtle.generateKey(CURVE, true, ['sign', 'verify']);
      const publicKey = await x509.PublicKey.create(keys.publicKey);
      const validity = { fromMs: Date.now(), untilMs: Date.now() + 86_400_000 };
      const certificate = await issueServiceCertificate(authorities.issuer(), { name: 'service', publicKey }, validity);
      const pkcs8 = new Uint8Array(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
      return { cert: certificate.toString('pem'), key: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY') };
    },
    async renew({ id, key }) {
      const envelope = signRenewal(
        { protocol: 1, kind: 'renewal', deviceId: id, agentVersion: '0.1.0', at: 0 },
        occasionalSigner(key),
      );
      const answer = await world.call('/certificate-renewals', {
        body: JSON.parse(envelope.toString('utf8')) as object,
      });
      return { ...answer, renewed: answer.body as DeviceCertificate };
    },
    async mqtt({ url = controlPlane.mqttUrl, ...options }) {
      const client = await connectAsync(url, { ca: ca(), reconnectPeriod: 0, protocolVersion: 4, ...options });
      client.on('error', () => undefined);
      clients.push(client);
      return client;
    },
    asDevice: (device, options = {}) =>
      world.mqtt({ clientId: device.id, username: device.id, ...shownBy(device), ...options }),
    webSocketUrl: () => `${controlPlane.httpUrl.replace(/^http/, 'ws')}/mqtt`,
    async close() {
      for (const client of clients) await client.endAsync(true);
      await controlPlane.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
  return world;
}

export const codeOf = ({ body }: SecureAnswer): string => (body as { error: { code: string } }).error.code;
