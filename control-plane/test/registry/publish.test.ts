import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Digest } from '@drover/shared/ids';
import { createKeyPair, publicKeyOf } from '@drover/shared/trust';
import { audit } from '../../src/governance/index.js';
import {
  errorCode,
  makeRelease,
  post,
  startFixture,
  trustPublisher,
  upload,
  type ControlPlaneFixture,
  type TestRelease,
} from '../control-plane-fixture.js';

let fixture: ControlPlaneFixture;
beforeEach(async () => {
  fixture = await startFixture();
});
afterEach(() => fixture.close());

async function uploadAll(release: TestRelease): Promise<void> {
  for (const file of release.files) expect((await upload(fixture, file)).statusCode).toBe(201);
}

async function published(version: string, changes: Parameters<typeof makeRelease>[2] = {}): Promise<TestRelease> {
  const release = makeRelease(fixture.publisher, version, changes);
  await uploadAll(release);
  const answer = await post(fixture, 'publisher', '/releases', release.envelope);
  expect(answer.statusCode, answer.body).toBe(201);
  return release;
}

const get = async (url: string) => fixture.app.inject({ url: `/api/v1${url}`, headers: await fixture.token('viewer') });

describe('when a signed release is published', () => {
  it('is stored, listed, shown, fetched unchanged and noted in the audit log', async () => {
    await trustPublisher(fixture);
    const { manifest, digest, envelope } = await published('1.0.0');
    await published('1.10.0');
    await published('1.9.0');

    expect((await get('/models')).json()).toMatchObject({
      items: [{ model: 'gas-classifier', releases: 3, newest: '1.10.0' }],
    });
    const list = (await get('/models/gas-classifier/releases')).json<{ items: { version: string }[] }>();
    expect(list.items.map(({ version }) => version)).toEqual(['1.0.0', '1.9.0', '1.10.0']);
    expect((await get('/models/gas-classifier/releases/1.0.0')).json()).toMatchObject({
      digest,
      manifest,
      publishedBy: 'test publisher',
    });

    const entries = await audit(fixture.db).list();
    expect(entries.filter(({ action }) => action === 'release.publish').map(({ subject }) => subject)).toEqual([
      'gas-classifier@1.0.0',
      'gas-classifier@1.10.0',
      'gas-classifier@1.9.0',
    ]);
    expect(envelope.payload).toBe(Buffer.from(JSON.stringify(manifest)).toString('base64'));
  });

  it('is taken with a parent that exists, and refused with one that does not', async () => {
    await trustPublisher(fixture);
    const parent = await published('1.0.0');
    await published('1.1.0', { lineage: { data: [], parent: parent.digest } });
    const orphan = makeRelease(fixture.publisher, '1.2.0', {
      lineage: { data: [], parent: `sha256:${'1'.repeat(64)}` as Digest },
    });
    await uploadAll(orphan);
    const answer = await post(fixture, 'publisher', '/releases', orphan.envelope);
    expect([answer.statusCode, errorCode(answer)]).toEqual([409, 'RELEASE_PARENT_UNKNOWN']);
  });
});

describe('when a release must not be taken', () => {
  it('is refused while no publisher keys are set', async () => {
    const answer = await post(fixture, 'publisher', '/releases', makeRelease(fixture.publisher, '1.0.0').envelope);
    expect([answer.statusCode, errorCode(answer)]).toEqual([409, 'PUBLISHER_KEYS_MISSING']);
  });

  it('is refused with a signature by an unknown key, or one that does not fit', async () => {
    await trustPublisher(fixture);
    const foreign = makeRelease(createKeyPair(), '1.0.0');
    await uploadAll(foreign);
    const unknown = await post(fixture, 'publisher', '/releases', foreign.envelope);
    expect([unknown.statusCode, errorCode(unknown)]).toEqual([422, 'SIGNATURE_BELOW_THRESHOLD']);

    const release = makeRelease(fixture.publisher, '1.0.0');
    const other = makeRelease(fixture.publisher, '2.0.0');
    const tampered = await post(fixture, 'publisher', '/releases', {
      ...release.envelope,
      payload: other.envelope.payload,
    });
    expect([tampered.statusCode, errorCode(tampered)]).toEqual([422, 'SIGNATURE_INVALID']);
    expect((await get('/models')).json()).toEqual({ items: [] });
  });

  it('is refused with fewer signatures than the threshold', async () => {
    const set = { threshold: 2, keys: [publicKeyOf(fixture.publisher), publicKeyOf(createKeyPair())] };
    await fixture.app.inject({
      method: 'PUT',
      url: '/api/v1/publisher-keys',
      headers: await fixture.token('admin'),
      payload: set,
    });
    const answer = await post(fixture, 'publisher', '/releases', makeRelease(fixture.publisher, '1.0.0').envelope);
    expect(errorCode(answer)).toBe('SIGNATURE_BELOW_THRESHOLD');
  });

  it('is refused when its version exists, and changes nothing', async () => {
    await trustPublisher(fixture);
    const first = await published('1.0.0');
    const again = makeRelease(fixture.publisher, '1.0.0');
    await uploadAll(again);
    const answer = await post(fixture, 'publisher', '/releases', again.envelope);
    expect([answer.statusCode, errorCode(answer)]).toEqual([409, 'RELEASE_EXISTS']);
    expect((await get('/models/gas-classifier/releases/1.0.0')).json()).toMatchObject({ digest: first.digest });
  });

  it('is refused while files are missing, and names them', async () => {
    await trustPublisher(fixture);
    const release = makeRelease(fixture.publisher, '1.0.0');
    await upload(fixture, release.files[0] ?? new Uint8Array());
    const answer = await post(fixture, 'publisher', '/releases', release.envelope);
    expect([answer.statusCode, errorCode(answer)]).toEqual([409, 'RELEASE_FILES_MISSING']);
    expect(answer.body).toContain('golden.json');
    expect(answer.body).not.toContain('model.onnx');
  });

  it('is refused when a file has another size than the manifest says', async () => {
    await trustPublisher(fixture);
    const release = makeRelease(fixture.publisher, '1.0.0');
    const lying = makeRelease(fixture.publisher, '1.0.0', {
      goldenVectors: { ...release.manifest.goldenVectors, bytes: 99 },
      variants: release.manifest.variants,
    });
    await uploadAll(release);
    const answer = await post(fixture, 'publisher', '/releases', lying.envelope);
    expect([answer.statusCode, errorCode(answer)]).toEqual([422, 'RELEASE_FILE_SIZE_WRONG']);
  });

  it('is refused when the manifest does not follow the schema', async () => {
    await trustPublisher(fixture);
    const release = makeRelease(fixture.publisher, '1.0.0', { surprise: true } as object);
    const answer = await post(fixture, 'publisher', '/releases', release.envelope);
    expect([answer.statusCode, errorCode(answer)]).toEqual([422, 'MANIFEST_INVALID']);
  });
});

describe('when publisher keys are replaced', () => {
  it('refuses a key whose id does not belong to it', async () => {
    const key = publicKeyOf(fixture.publisher);
    const answer = await fixture.app.inject({
      method: 'PUT',
      url: '/api/v1/publisher-keys',
      headers: await fixture.token('admin'),
      payload: { threshold: 1, keys: [{ ...key, publicKey: publicKeyOf(createKeyPair()).publicKey }] },
    });
    expect([answer.statusCode, errorCode(answer)]).toEqual([422, 'KEY_MALFORMED']);
  });

  it('shows the set in force', async () => {
    expect((await get('/publisher-keys')).statusCode).toBe(409);
    await trustPublisher(fixture);
    expect((await get('/publisher-keys')).json()).toEqual({ threshold: 1, keys: [publicKeyOf(fixture.publisher)] });
  });
});

describe('when something unknown is asked for', () => {
  it('says which', async () => {
    await trustPublisher(fixture);
    await published('1.0.0');
    expect(errorCode(await get('/models/other/releases'))).toBe('MODEL_UNKNOWN');
    expect(errorCode(await get('/models/gas-classifier/releases/9.9.9'))).toBe('RELEASE_UNKNOWN');
  });
});
