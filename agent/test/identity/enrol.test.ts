import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceId } from '@drover/shared/ids';
import { openEnrolment, type EnrolmentRequest } from '@drover/shared/protocol';
import { createKeyPair, publicKeyOf } from '@drover/shared/trust';
import { unusedCertificate } from '../update/fixtures/releases.js';
import { RepositorySimulator } from '@drover/shared/trust/tuf/simulator';
import { enrol, loadIdentity, loadOrCreateDeviceKey, type EnrolOptions } from '../../src/identity/index.js';

const keys = { threshold: 1, keys: [publicKeyOf(createKeyPair())] };
const { pinnedRoot } = new RepositorySimulator({ nowMs: 1_767_225_600_000 });
const deviceId = DeviceId('pump-7');
const grant = {
  protocol: 1,
  deviceId,
  credential: 'c'.repeat(40),
  identity: unusedCertificate,
  director: keys,
  brokerUrl: 'mqtt://127.0.0.1:1883',
  epoch: 0,
};

let dataDir: string;
let server: Server;
let url: string;
let answer: { status: number; body: unknown };
const received: EnrolmentRequest[] = [];
beforeEach(async () => {
  dataDir = join(await mkdtemp(join(tmpdir(), 'drover-identity-')), 'data');
  received.length = 0;
  answer = { status: 201, body: grant };
  server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      received.push(openEnrolment(Buffer.concat(parts)));
      const { status, body } = answer;
      response.writeHead(status).end(typeof body === 'string' ? body : JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  server.close();
  await rm(join(dataDir, '..'), { recursive: true, force: true });
});

const options = (change: Partial<EnrolOptions> = {}): EnrolOptions => ({
  controlPlaneUrl: `${url}/`,
  claimToken: 'a-claim-token-of-the-operator',
  deviceId,
  hardwareClass: 'cpu-small',
  attributes: { site: 'north' },
  pinnedRoot,
  agentVersion: '0.1.0',
  dataDir,
  clock: { now: () => 1_767_225_600_000 },
  ...change,
});

describe('when a device enrols', () => {
  it('proves its key, stores what it was granted with the pinned root, and reads it again', async () => {
    const identity = await enrol(options());
    expect(received[0]).toMatchObject({
      deviceId,
      attributes: { site: 'north' },
      claimToken: 'a-claim-token-of-the-operator',
    });
    expect(received[0]?.publicKey).toEqual(publicKeyOf(await loadOrCreateDeviceKey(dataDir)));
    expect(await loadIdentity(dataDir)).toEqual(identity);
    expect(identity).toMatchObject({
      controlPlaneUrl: url,
      pinnedRoot: Buffer.from(pinnedRoot).toString('utf8'),
      grant,
    });
  });

  it('lets nobody else read key and credential', async () => {
    await enrol(options());
    for (const name of ['device-key.json', 'identity.json']) {
      expect((await stat(join(dataDir, name))).mode & 0o777).toBe(0o600);
    }
  });

  it('presents the same key when it tries again', async () => {
    answer = { status: 503, body: 'busy' };
    await expect(enrol(options())).rejects.toMatchObject({ code: 'ENROLMENT_UNREACHABLE', retryable: true });
    answer = { status: 201, body: grant };
    await enrol(options());
    expect(received[1]?.publicKey).toEqual(received[0]?.publicKey);
  });

  it('repeats the words of a control plane that refuses', async () => {
    answer = {
      status: 403,
      body: { error: { code: 'CLAIM_TOKEN_USED', what: 'The token was used.', remedy: 'Get a new one.' } },
    };
    await expect(enrol(options())).rejects.toMatchObject({
      code: 'ENROLMENT_REFUSED',
      message: 'The control plane refused (CLAIM_TOKEN_USED): The token was used.',
      remedy: 'Get a new one.',
    });
    await expect(loadIdentity(dataDir)).rejects.toMatchObject({ code: 'IDENTITY_NOT_ENROLLED' });
  });

  it.each([
    ['answers with a page', { status: 200, body: '<html>' }, 'ENROLMENT_ANSWER_INVALID'],
    ['answers with half a grant', { status: 201, body: { ...grant, identity: undefined } }, 'ENROLMENT_ANSWER_INVALID'],
    ['answers without end', { status: 201, body: 'x'.repeat(100_000) }, 'ENROLMENT_ANSWER_INVALID'],
    ['answers for another device', { status: 201, body: { ...grant, deviceId: 'pump-8' } }, 'IDENTITY_MISMATCH'],
  ])('stores nothing when the server %s', async (_what, wrong, code) => {
    answer = wrong;
    await expect(enrol(options())).rejects.toMatchObject({ code });
    await expect(loadIdentity(dataDir)).rejects.toMatchObject({ code: 'IDENTITY_NOT_ENROLLED' });
  });

  it('says when nobody answers', async () => {
    await expect(enrol(options({ controlPlaneUrl: 'http://127.0.0.1:9' }))).rejects.toMatchObject({
      code: 'ENROLMENT_UNREACHABLE',
    });
  });
});

describe('when a stored identity is damaged', () => {
  it.each(['device-key.json', 'identity.json'])('says so for %s and leaves the file alone', async (name) => {
    await enrol(options());
    await writeFile(join(dataDir, name), '{"format":');
    const reading = name === 'identity.json' ? loadIdentity(dataDir) : loadOrCreateDeviceKey(dataDir);
    await expect(reading).rejects.toMatchObject({ code: 'IDENTITY_DAMAGED' });
    expect(await readFile(join(dataDir, name), 'utf8')).toBe('{"format":');
  });
});
