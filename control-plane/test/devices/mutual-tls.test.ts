import { X509Certificate } from 'node:crypto';
import { connect as connectTls } from 'node:tls';
import fc from 'fast-check';
import type { MqttClient } from 'mqtt';
import { WebSocket } from 'ws';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DeviceId } from '@drover/shared/ids';
import { ordersTopic, reportsTopic } from '@drover/shared/protocol';
import { createKeyPair } from '@drover/shared/trust';
import { createAuthority, issueDeviceCertificate } from '../../src/certificate-authority/issue.js';
import {
  codeOf,
  createSecureWorld,
  keyPem,
  SERVICE_PASSWORD,
  shownBy,
  type Enrolled,
  type SecureWorld,
} from './secure-world.js';

const DAY_MS = 86_400_000;

let world: SecureWorld;
let alpha: Enrolled;
let beta: Enrolled;
beforeAll(async () => {
  world = await createSecureWorld();
  alpha = await world.enrol('alpha');
  beta = await world.enrol('beta');
});
afterAll(() => world.close());

const closing = (client: MqttClient) => new Promise<void>((resolve) => client.once('close', resolve));

describe('the certificate that enrolment grants', () => {
  it("is for the device's own key, by our authority, for clients, for 90 days, and says whose it is", () => {
    const certificate = new X509Certificate(alpha.grant.identity.certificate);
    const authority = new X509Certificate(alpha.grant.identity.authorities[0] ?? '');
    expect(certificate.verify(authority.publicKey)).toBe(true);
    expect(certificate.subject).toBe('CN=alpha');
    expect(certificate.subjectAltName).toBe('URI:urn:drover:device:alpha');
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
    expect(certificate.ca).toBe(false);
    const spki = certificate.publicKey.export({ format: 'der', type: 'spki' });
    expect(spki.subarray(-32).toString('hex')).toBe(alpha.key.publicKey);
    const days = (Date.parse(certificate.validTo) - Date.parse(certificate.validFrom)) / DAY_MS;
    expect(days).toBe(91);
    expect(certificate.serialNumber).not.toBe(new X509Certificate(beta.grant.identity.certificate).serialNumber);
  });

  it('comes without a password, which nothing would take', () => {
    expect(alpha.grant.credential).toBeUndefined();
  });

  it('can be no account of the broker', async () => {
    await expect(world.enrol('service')).rejects.toThrow('DEVICE_ID_RESERVED');
  });
});

describe('when a device connects to the broker over TLS', () => {
  it('is let in by its certificate, without a password', async () => {
    const client = await world.asDevice(alpha);
    await client.subscribeAsync(ordersTopic(alpha.id), { qos: 1 });
    const { body } = await world.call('/devices/alpha', { token: true });
    await expect.poll(() => client.connected).toBe(true);
    expect(body).toMatchObject({ id: 'alpha' });
    await client.endAsync();
  });

  it('is refused under the name or the client id of another', async () => {
    await expect(world.asDevice(alpha, { clientId: 'beta' })).rejects.toMatchObject({ code: 5 });
    await expect(world.asDevice(alpha, { username: 'beta' })).rejects.toMatchObject({ code: 5 });
    await expect(world.asDevice(alpha, { clientId: 'beta', username: 'beta' })).rejects.toMatchObject({ code: 5 });
  });

  it('is refused without a certificate, whatever its password', async () => {
    const password = 'device_anything';
    await expect(world.mqtt({ clientId: 'alpha', username: 'alpha', password })).rejects.toMatchObject({ code: 5 });
  });

  it('is refused with a certificate of another authority, or for another key', async () => {
    const validity = { fromMs: Date.now(), untilMs: Date.now() + DAY_MS };
    const stranger = await createAuthority('stranger', validity);
    const key = createKeyPair();
    const forged = await issueDeviceCertificate(
      stranger,
      { deviceId: alpha.id, publicKeyHex: key.publicKey },
      validity,
    );
    await expect(
      world.mqtt({ clientId: 'alpha', username: 'alpha', cert: forged.toString('pem'), key: keyPem(key) }),
    ).rejects.toMatchObject({ code: 5 });
  });

  it('is refused when its certificate has run out, by the clock of the control plane', async () => {
    world.clock.aheadMs = 91 * DAY_MS;
    try {
      await expect(world.asDevice(alpha)).rejects.toMatchObject({ code: 5 });
      const answer = await world.call('/device/certificate', { shown: shownBy(alpha) });
      expect([answer.status, codeOf(answer)]).toEqual([401, 'AUTH_INVALID']);
    } finally {
      world.clock.aheadMs = 0;
    }
  });

  it('lets the service account in by password, for tools', async () => {
    const client = await world.mqtt({ clientId: 'tool', username: 'service', password: SERVICE_PASSWORD });
    await client.subscribeAsync('drover/#');
    await client.endAsync();
  });
});

describe('what a device can touch', () => {
  const nameOf = fc.oneof(fc.constantFrom('alpha', 'beta', '+', '#', ''), fc.stringMatching(/^[a-z0-9_-]{1,8}$/));
  const topic = fc.oneof(
    fc
      .tuple(nameOf, fc.constantFrom('orders', 'reports', '+', '#', 'reports/x'))
      .map(([name, last]) => `drover/v1/devices/${name}/${last}`),
    fc.constantFrom('#', '+', 'drover/#', '$SYS/#', 'drover/v1/devices/alpha', 'drover/v2/devices/alpha/orders'),
    fc.stringMatching(/^[a-z/+#]{1,20}$/),
  );

  it('is its own orders, to subscribe to, and nothing else', async () => {
    const client = await world.asDevice(alpha);
    await fc.assert(
      fc.asyncProperty(topic, async (filter) => {
        const granted = await client.subscribeAsync(filter, { qos: 1 }).then(
          () => true,
          () => false,
        );
        expect(granted).toBe(filter === ordersTopic(alpha.id));
      }),
      { numRuns: 60, examples: [[ordersTopic(alpha.id)], [ordersTopic(beta.id)]] },
    );
    expect(client.connected).toBe(true);
    await client.endAsync();
  });

  it('is its own reports, to publish to: anything else ends its connection and reaches nobody', async () => {
    const heard: string[] = [];
    const listener = await world.mqtt({ clientId: 'tool', username: 'service', password: SERVICE_PASSWORD });
    listener.on('message', (name) => heard.push(name));
    await listener.subscribeAsync('#');
    const isTopic = (name: string) => name !== '' && !/[+#]/.test(name);
    await fc.assert(
      fc.asyncProperty(topic.filter(isTopic), async (name) => {
        const client = await world.asDevice(alpha);
        const ended = closing(client);
        client.publish(name, 'x', { qos: 0 });
        if (name === reportsTopic(alpha.id)) await client.endAsync();
        else await ended;
      }),
      { numRuns: 25, examples: [[reportsTopic(beta.id)], [ordersTopic(alpha.id)], [reportsTopic(alpha.id)]] },
    );
    expect(heard.filter((name) => name !== reportsTopic(alpha.id))).toEqual([]);
    await listener.endAsync();
  });
});

describe('when a device asks over HTTPS', () => {
  it('is let in by its certificate alone: no password counts over TLS', async () => {
    const known = await world.call('/device/certificate', { shown: shownBy(alpha) });
    expect(known.status).toBe(200);
    expect(known.body).toMatchObject({ authorities: alpha.grant.identity.authorities });
    const without = await world.call('/device/certificate', { basic: 'alpha:anything' });
    expect([without.status, codeOf(without)]).toEqual([401, 'AUTH_REQUIRED']);
  });

  it('gets the chain of the authority that claim tokens pin', async () => {
    const { hostname, port } = new URL(world.controlPlane.httpUrl);
    const socket = connectTls({ host: hostname, port: Number(port), ca: world.ca() });
    await new Promise<void>((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
    expect(socket.authorized).toBe(true);
    expect(socket.getPeerX509Certificate()?.subjectAltName).toContain('IP Address:127.0.0.1');
    socket.destroy();
    const { body } = await world.call('/claim-tokens', { body: { attributes: {}, ttlMs: 1000 }, token: true });
    expect((body as { claimToken: string }).claimToken).toMatch(/^claim_[\w-]{43}\.[\w-]{43}$/);
  });
});

describe('a claim token for one device', () => {
  it('lets in that one and no other', async () => {
    const made = await world.call('/claim-tokens', {
      body: { attributes: {}, ttlMs: 60_000, uses: 2, deviceId: 'gamma' },
      token: true,
    });
    const { claimToken } = made.body as { claimToken: string };
    const { enrolmentOf } = await import('../control-plane-fixture.js');
    const other = await world.call('/enrolments', { body: enrolmentOf(createKeyPair(), claimToken, 'delta') });
    expect([other.status, codeOf(other)]).toEqual([403, 'CLAIM_TOKEN_WRONG_DEVICE']);
    const own = await world.call('/enrolments', { body: enrolmentOf(createKeyPair(), claimToken, 'gamma') });
    expect(own.status).toBe(201);
    expect(DeviceId((own.body as { deviceId: string }).deviceId)).toBe('gamma');
  });
});

describe('a certificate that runs out', () => {
  it('is renewed with the key alone, also after its end; its successor holds', async () => {
    const device = await world.enrol('epsilon');
    world.clock.aheadMs = 200 * DAY_MS;
    try {
      const { status, renewed } = await world.renew(device);
      expect(status).toBe(201);
      const again: Enrolled = { ...device, grant: { ...device.grant, identity: renewed } };
      expect((await world.call('/device/certificate', { shown: shownBy(again) })).body).toMatchObject({
        renewalDue: false,
      });
      const client = await world.asDevice(again);
      await client.endAsync();
    } finally {
      world.clock.aheadMs = 0;
    }
  });

  it('is due after two thirds of its life', async () => {
    const device = await world.enrol('zeta');
    const due = async () =>
      ((await world.call('/device/certificate', { shown: shownBy(device) })).body as { renewalDue: boolean })
        .renewalDue;
    expect(await due()).toBe(false);
    world.clock.aheadMs = 61 * DAY_MS;
    expect(await due()).toBe(true);
    world.clock.aheadMs = 0;
  });

  it('is not renewed for whoever holds another key', async () => {
    const answer = await world.renew({ ...alpha, key: createKeyPair() });
    expect([answer.status, codeOf(answer)]).toEqual([422, 'SIGNATURE_BELOW_THRESHOLD']);
  });
});

describe('when a device is revoked', () => {
  it('is cut off at once on TCP and on WebSocket, refused everywhere, and cannot renew', async () => {
    const device = await world.enrol('stolen');
    const overTcp = await world.asDevice(device);
    const ended = closing(overTcp);
    const revoke = () => world.call('/devices/stolen/revocation', { body: { reason: 'stolen' }, token: true });
    expect((await revoke()).body).toMatchObject({ id: 'stolen', revoked: { reason: 'stolen' }, connected: false });
    await ended;
    await expect(world.asDevice(device)).rejects.toMatchObject({ code: 5 });
    await expect(world.asDevice(device, { url: world.webSocketUrl() })).rejects.toMatchObject({ code: 5 });
    const asked = await world.call('/device/certificate', { shown: shownBy(device) });
    expect([asked.status, codeOf(asked)]).toEqual([401, 'AUTH_INVALID']);
    const renewal = await world.renew(device);
    expect([renewal.status, codeOf(renewal)]).toEqual([403, 'DEVICE_REVOKED']);
    await expect(world.enrol('stolen', device.key)).rejects.toThrow('DEVICE_REVOKED');
    expect((await revoke()).status).toBe(200);
    const audit = JSON.stringify((await world.call('/audit', { token: true })).body);
    expect(audit.match(/device\.revoke/g)).toHaveLength(1);
  });

  it('is cut off on a WebSocket that is open', async () => {
    const device = await world.enrol('stolen-too');
    const client = await world.asDevice(device, { url: world.webSocketUrl() });
    await client.subscribeAsync(ordersTopic(device.id), { qos: 1 });
    const ended = closing(client);
    await world.call('/devices/stolen-too/revocation', { body: { reason: 'test' }, token: true });
    await ended;
    expect(client.connected).toBe(false);
  });

  it('leaves its id to another device in its place', async () => {
    const first = await world.enrol('eta');
    await world.call('/devices/eta/revocation', { body: { reason: 'broken' }, token: true });
    const second = await world.enrol('eta');
    expect((await world.call('/device/certificate', { shown: shownBy(second) })).status).toBe(200);
    expect((await world.call('/device/certificate', { shown: shownBy(first) })).status).toBe(401);
  });
});

describe('MQTT over WebSocket, on the port of the API', () => {
  it('knows a device by the same certificate, and lets it touch the same topics', async () => {
    const url = world.webSocketUrl();
    const client = await world.asDevice(beta, { url });
    await client.subscribeAsync(ordersTopic(beta.id), { qos: 1 });
    await expect(client.subscribeAsync(ordersTopic(alpha.id), { qos: 1 })).rejects.toThrow();
    await client.endAsync();
    await expect(world.asDevice(beta, { url, clientId: 'alpha' })).rejects.toMatchObject({ code: 5 });
  });

  it('takes no other path', async () => {
    const open = (path: string, subprotocol: string) =>
      new Promise<string>((resolve) => {
        const url = world.webSocketUrl().replace('/mqtt', path);
        const webSocket = new WebSocket(url, subprotocol, { ca: world.ca() });
        webSocket.once('open', () => {
          webSocket.terminate();
          resolve('open');
        });
        webSocket.once('error', (error) => resolve(error.message));
      });
    expect(await open('/mqtt', 'mqtt')).toBe('open');
    expect(await open('/elsewhere', 'mqtt')).toContain('404');
    expect(await open('/mqtt', 'chat')).toContain('400');
  });
});
