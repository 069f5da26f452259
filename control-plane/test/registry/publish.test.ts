import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Digest } from '@drover/shared/ids';
import { createKeyPair } from '@drover/shared/trust';
import { releasePath, renew, withoutRelease, withRelease } from '@drover/shared/trust/ceremony';
import { audit } from '../../src/governance/index.js';
import { metadataFiles } from '../../src/release-repository/index.js';
import {
  beginRepository,
  errorCode,
  makeRelease,
  MODEL,
  nextModelRole,
  post,
  publication,
  publish,
  signedBy,
  startFixture,
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

async function published(version: string, changes: Parameters<typeof makeRelease>[1] = {}): Promise<TestRelease> {
  const release = makeRelease(version, changes);
  await uploadAll(release);
  const answer = await publish(fixture, release);
  expect(answer.statusCode, answer.body).toBe(201);
  return release;
}

const get = async (url: string) => fixture.app.inject({ url: `/api/v1${url}`, headers: await fixture.token('viewer') });
const refusal = (answer: Parameters<typeof errorCode>[0]) => [answer.statusCode, errorCode(answer)];

describe('when a release is published', () => {
  it('is stored, listed, shown, fetched unchanged and noted in the audit log', async () => {
    await beginRepository(fixture);
    const { manifest, digest, manifestBytes } = await published('1.0.0');
    await published('1.10.0');
    await published('1.9.0');

    expect((await get('/models')).json()).toMatchObject({
      items: [{ model: MODEL, releases: 3, newest: '1.10.0' }],
    });
    const list = (await get(`/models/${MODEL}/releases`)).json<{ items: { version: string }[] }>();
    expect(list.items.map(({ version }) => version)).toEqual(['1.0.0', '1.9.0', '1.10.0']);
    expect((await get(`/models/${MODEL}/releases/1.0.0`)).json()).toMatchObject({
      digest,
      manifest,
      publishedBy: 'test publisher',
    });
    const blob = await fixture.app.inject({
      url: `/api/v1/blobs/${digest.slice(7)}`,
      method: 'HEAD',
      headers: await fixture.token('publisher'),
    });
    expect(Number(blob.headers['content-length'])).toBe(manifestBytes.length);

    const entries = await audit(fixture.db).list();
    expect(entries.filter(({ action }) => action === 'release.publish').map(({ subject }) => subject)).toEqual([
      `${MODEL}@1.0.0`,
      `${MODEL}@1.10.0`,
      `${MODEL}@1.9.0`,
    ]);
  });

  it('is taken with a parent that exists, also one of the same publication, and refused with one that does not', async () => {
    await beginRepository(fixture);
    const parent = makeRelease('1.0.0');
    const child = makeRelease('1.1.0', { lineage: { data: [], parent: parent.digest } });
    await uploadAll(parent);
    await uploadAll(child);
    const both = signedBy(MODEL, await nextModelRole(fixture, child, parent), fixture.publisher);
    expect((await publication(fixture, [both], 'publisher')).statusCode).toBe(201);
    const orphan = makeRelease('1.2.0', { lineage: { data: [], parent: `sha256:${'1'.repeat(64)}` as Digest } });
    await uploadAll(orphan);
    expect(refusal(await publish(fixture, orphan))).toEqual([409, 'RELEASE_PARENT_UNKNOWN']);
  });
});

describe('when a release must not be taken', () => {
  it('is refused while there is no repository', async () => {
    expect(refusal(await publish(fixture, makeRelease('1.0.0')))).toEqual([409, 'REPOSITORY_MISSING']);
  });

  it('is refused with a signature by a key that may not sign for the model, or one that does not fit', async () => {
    await beginRepository(fixture);
    const release = makeRelease('1.0.0');
    await uploadAll(release);
    expect(refusal(await publish(fixture, release, createKeyPair()))).toEqual([422, 'TUF_SIGNATURES_BELOW_THRESHOLD']);
    const signed = signedBy(MODEL, await nextModelRole(fixture, release), fixture.publisher);
    const other = makeRelease('2.0.0');
    const tampered = { ...signed, signed: await nextModelRole(fixture, other) };
    expect(refusal(await publication(fixture, [tampered], 'publisher'))).toEqual([
      422,
      'TUF_SIGNATURES_BELOW_THRESHOLD',
    ]);
    expect((await get('/models')).json()).toEqual({ items: [] });
  });

  it('is refused when its version exists with another content, and changes nothing', async () => {
    await beginRepository(fixture);
    const first = await published('1.0.0');
    const again = makeRelease('1.0.0');
    await uploadAll(again);
    expect(refusal(await publish(fixture, again))).toEqual([409, 'RELEASE_EXISTS']);
    expect((await get(`/models/${MODEL}/releases/1.0.0`)).json()).toMatchObject({ digest: first.digest });
    expect((await metadataFiles(fixture.db).current())?.models.get(MODEL)?.signed.version).toBe(1);
  });

  it('is refused while files are missing, and names them', async () => {
    await beginRepository(fixture);
    const release = makeRelease('1.0.0');
    const [model = new Uint8Array(), , manifest = new Uint8Array()] = release.files;
    await upload(fixture, model);
    expect(refusal(await publish(fixture, release))).toEqual([409, 'RELEASE_FILES_MISSING']);
    await upload(fixture, manifest);
    const answer = await publish(fixture, release);
    expect(refusal(answer)).toEqual([409, 'RELEASE_FILES_MISSING']);
    expect(answer.body).toContain('golden.json');
    expect(answer.body).not.toContain('model.onnx');
  });

  it('is refused when a file, or the manifest itself, has another size than is stated', async () => {
    await beginRepository(fixture);
    const release = makeRelease('1.0.0');
    const lying = makeRelease('1.0.0', {
      goldenVectors: { ...release.manifest.goldenVectors, bytes: 99 },
      variants: release.manifest.variants,
    });
    await uploadAll(release);
    await upload(fixture, lying.manifestBytes);
    expect(refusal(await publish(fixture, lying))).toEqual([422, 'RELEASE_FILE_SIZE_WRONG']);
    const { version } = release.manifest;
    const listed = { model: MODEL, version, manifestBytes: 7, sha256: release.digest.slice(7) };
    const role = withRelease(await nextModelRole(fixture), listed);
    expect(refusal(await publication(fixture, [signedBy(MODEL, role, fixture.publisher)]))).toEqual([
      422,
      'RELEASE_TARGET_WRONG',
    ]);
  });

  it('is refused when it is listed under another version or model than its manifest says', async () => {
    await beginRepository(fixture);
    const release = makeRelease('1.0.0');
    await uploadAll(release);
    const misnamed = {
      ...release,
      manifest: { ...release.manifest, version: '1.0.1' as typeof release.manifest.version },
    };
    expect(refusal(await publish(fixture, misnamed))).toEqual([422, 'RELEASE_TARGET_WRONG']);
  });

  it('is refused when the manifest does not follow the schema', async () => {
    await beginRepository(fixture);
    const release = makeRelease('1.0.0', { surprise: true } as object);
    await uploadAll(release);
    expect(refusal(await publish(fixture, release))).toEqual([422, 'MANIFEST_INVALID']);
  });
});

describe('when a release is taken off the list', () => {
  it('is withdrawn, can be rolled out no more, and comes back only as it was', async () => {
    await beginRepository(fixture);
    const release = await published('1.0.0');
    await published('1.1.0');
    const current = (await metadataFiles(fixture.db).current())?.models.get(MODEL)?.signed;
    if (!current) throw new Error('nothing was published');
    const without = withoutRelease(
      renew(current, fixture.clock.at + 1e9),
      releasePath(MODEL, release.manifest.version),
    );
    expect((await publication(fixture, [signedBy(MODEL, without, fixture.publisher)], 'publisher')).statusCode).toBe(
      201,
    );
    expect((await get(`/models/${MODEL}/releases/1.0.0`)).json()).toMatchObject({ withdrawnAt: fixture.clock.at });
    const { buildRolloutRequest } = await import('../../src/cli/rollout-request.js');
    const request = buildRolloutRequest(
      { model: MODEL, version: '1.0.0' },
      { stages: [{ name: 'all', share: 1 }], judge: 'failures', autoRevert: true },
      { gate: undefined, probation: undefined },
    );
    expect(refusal(await post(fixture, 'operator', '/rollouts', request))).toEqual([409, 'RELEASE_WITHDRAWN']);
    const other = makeRelease('1.0.0');
    await uploadAll(other);
    expect(refusal(await publish(fixture, other))).toEqual([409, 'RELEASE_EXISTS']);
    expect((await publish(fixture, release)).statusCode).toBe(201);
    expect((await get(`/models/${MODEL}/releases/1.0.0`)).json()).not.toHaveProperty('withdrawnAt');
  });
});

describe('when something unknown is asked for', () => {
  it('says which', async () => {
    await beginRepository(fixture);
    await published('1.0.0');
    expect(errorCode(await get('/models/other/releases'))).toBe('MODEL_UNKNOWN');
    expect(errorCode(await get(`/models/${MODEL}/releases/9.9.9`))).toBe('RELEASE_UNKNOWN');
  });
});
