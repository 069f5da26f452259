import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { connect } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { codeOf, createSecureWorld, shownBy, type Enrolled, type SecureWorld } from './secure-world.js';

let world: SecureWorld;
beforeEach(async () => {
  world = await createSecureWorld();
});
afterEach(() => world.close());

const rotate = () => world.call('/certificate-authorities', { body: {}, token: true });
const retire = (number: number) =>
  world.call(`/certificate-authorities/${number}/retirement`, { body: {}, token: true });
const status = async (device: Enrolled) => world.call('/device/certificate', { shown: shownBy(device) });
const authorities = async () =>
  (
    (await world.call('/certificate-authorities', { token: true })).body as {
      items: { number: number; state: string; devices: number }[];
    }
  ).items.map(({ number, state, devices }) => `${number} ${state} ${devices}`);
const renewed = async (device: Enrolled): Promise<Enrolled> => ({
  ...device,
  grant: { ...device.grant, identity: (await world.renew(device)).renewed },
});

/** Whether a client that knows these authorities believes the server. */
function believes(ca: readonly string[]): Promise<boolean> {
  const { hostname, port } = new URL(world.controlPlane.httpUrl);
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: Number(port), ca: [...ca] }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

describe('when the authority is replaced', () => {
  it('the old one stays accepted, devices learn the new one by their renewal, and then the old one goes', async () => {
    const device = await world.enrol('alpha');
    expect((await status(device)).status).toBe(200);
    expect(await authorities()).toEqual(['1 issuing 1']);
    expect((await rotate()).status).toBe(201);
    const before = await status(device);
    expect(before.body).toMatchObject({ renewalDue: true });
    expect((before.body as { authorities: string[] }).authorities).toHaveLength(2);

    const after = await renewed(device);
    expect(after.grant.identity.authorities).toHaveLength(2);
    expect((await status(after)).body).toMatchObject({ renewalDue: false });
    expect(await authorities()).toEqual(['1 accepted 0', '2 issuing 1']);
    expect((await retire(1)).status).toBe(200);
    expect(await authorities()).toEqual(['1 retired 0', '2 issuing 1']);
    expect((await status(after)).status).toBe(200);
    const refused = await status(device);
    expect([refused.status, codeOf(refused)]).toEqual([401, 'AUTH_INVALID']);
  });

  it('a device that was away meanwhile believes the server, and gets a new certificate with its key', async () => {
    const device = await world.enrol('away');
    await rotate();
    await retire(1);
    // What it knows is the first authority; the server proves itself by the second, for which the first vouches.
    expect(await believes(device.grant.identity.authorities)).toBe(true);
    expect((await status(device)).status).toBe(401);
    const after = await renewed(device);
    expect(after.grant.identity.authorities).toHaveLength(1);
    expect((await status(after)).status).toBe(200);
    expect(await believes(after.grant.identity.authorities)).toBe(true);
  });

  it('twice, a device that knows only the first still believes', async () => {
    const device = await world.enrol('long-away');
    await rotate();
    await rotate();
    await retire(1);
    await retire(2);
    expect(await believes(device.grant.identity.authorities)).toBe(true);
    const stranger = await createSecureWorld();
    try {
      const other = await stranger.enrol('other');
      expect(await believes(other.grant.identity.authorities)).toBe(false);
    } finally {
      await stranger.close();
    }
  });

  it('new claim tokens pin the new one', async () => {
    const pinOf = async () => {
      const { body } = await world.call('/claim-tokens', { body: { attributes: {}, ttlMs: 1000 }, token: true });
      return (body as { claimToken: string }).claimToken.split('.')[1];
    };
    const first = await pinOf();
    await rotate();
    expect(await pinOf()).not.toBe(first);
  });

  it('the one that issues cannot be retired, nor one that never was', async () => {
    const current = await retire(1);
    expect([current.status, codeOf(current)]).toEqual([409, 'AUTHORITY_IN_USE']);
    const none = await retire(7);
    expect([none.status, codeOf(none)]).toEqual([404, 'AUTHORITY_UNKNOWN']);
  });

  it('every connection is made anew, so that each device hears of it', async () => {
    const client = await world.asDevice(await world.enrol('beta'));
    const closed = new Promise<void>((resolve) => client.once('close', resolve));
    await rotate();
    await closed;
    expect(client.connected).toBe(false);
  });
});

describe('a certificate for a broker beside the control plane', () => {
  it('is refused for something that is no signing request', async () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const request = publicKey.export({ format: 'pem', type: 'spki' }).toString();
    const answer = await world.call('/server-certificates', {
      body: { names: ['broker.example'], request, days: 10 },
      token: true,
    });
    expect([answer.status, codeOf(answer)]).toEqual([422, 'CERTIFICATE_REQUEST_INVALID']);
  });

  it('is for the names that were asked for, by the authority that issues', async () => {
    const { makeRequest } = await import('./signing-request.js');
    const answer = await world.call('/server-certificates', {
      body: { names: ['broker.example', '192.0.2.1'], request: (await makeRequest()).request, days: 10 },
      token: true,
    });
    expect(answer.status).toBe(201);
    const certificate = new X509Certificate((answer.body as { chain: string }).chain);
    expect(certificate.subjectAltName).toBe('DNS:broker.example, IP Address:192.0.2.1');
    expect(certificate.verify(new X509Certificate(world.ca()).publicKey)).toBe(true);
  });
});
