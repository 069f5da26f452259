import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestHex, digestOf, ModelName } from '@drover/shared/ids';
import { delegate, firstModelRole, renew } from '@drover/shared/trust/ceremony';
import type { Targets } from '@drover/shared/trust/tuf';
import { connect, type Client } from '../../../src/cli/client.js';
import { toBatches } from '../../../src/cli/repository-copy/batches.js';
import { publishCopy } from '../../../src/cli/repository-copy/publish-copy.js';
import { metadataFiles, type SentDocument } from '../../../src/release-repository/index.js';
import { holders, MODEL, signedBy } from '../../control-plane-fixture.js';
import { serve, signal, type Served } from './served.js';

let served: Served;
beforeEach(async () => {
  served = await serve();
});
afterEach(() => served.fixture.close());

const lines: string[] = [];
beforeEach(() => void lines.splice(0));
const publishAgain = (client: Client = served.client) =>
  publishCopy({ client, folder: served.out, signal, progress: (line) => void lines.push(line) });

async function currentTargets(): Promise<Targets> {
  const current = await metadataFiles(served.fixture.db).current();
  if (!current) throw new Error('there is no repository');
  return current.targets.signed;
}

describe('when a control plane has lost what a copy has', () => {
  it('gets it back, with the files that it lacks and no others', async () => {
    const first = await served.publish('1.0.0');
    const second = await served.publish('1.1.0');
    await served.copy();
    await served.lose(MODEL, { from: 2 });
    const [lost = Buffer.of()] = second.files;
    const hex = digestHex(digestOf(lost));
    rmSync(join(served.fixture.directory, 'blobs', hex.slice(0, 2), hex));
    expect(await publishAgain()).toEqual([{ role: MODEL, version: 2 }]);
    expect(await served.client.hasBlob(hex, signal)).toBe(true);
    expect(lines.filter((line) => line.includes('uploaded'))).toEqual([expect.stringContaining(hex.slice(0, 12))]);
    expect(lines).toContain(`${MODEL}@${first.manifest.version}`);
    expect(await publishAgain()).toEqual([]);
  });

  it('gets more roles than one publication takes, those first that a change of keys would leave unsigned', async () => {
    const { fixture, otherKey } = served;
    const { publisher, repository, clock } = fixture;
    const expiresAtMs = clock.at + 365 * 86_400_000;
    const role = firstModelRole(expiresAtMs);
    const rotated = ModelName('zulu');
    const before = delegate(await currentTargets(), rotated, holders(publisher), expiresAtMs);
    await repository.publish([signedBy('targets', before, publisher), signedBy(rotated, role, publisher)], 'test');

    const models = Array.from({ length: 120 }, (_, index) => ModelName(`model-${index}`));
    const after = [...models].reduce(
      (targets, model) => ({
        ...delegate(targets, model, holders(publisher), expiresAtMs),
        version: before.version + 1,
      }),
      delegate(before, rotated, holders(otherKey), expiresAtMs),
    );
    await repository.publish(
      [signedBy('targets', after, publisher), signedBy(rotated, renew(role, expiresAtMs), otherKey)],
      'test',
    );
    await repository.publish(
      models.map((model) => signedBy(model, role, publisher)),
      'test',
    );
    await served.copy();
    for (const model of models) await served.lose(model, { from: 1 });
    await served.lose('targets', { from: after.version });
    await served.lose(rotated, { from: 2 });

    const sent: number[] = [];
    const counting: Client = {
      ...served.client,
      send: (method, path, body) => {
        sent.push((body as { documents: unknown[] }).documents.length);
        return served.client.send(method, path, body);
      },
    };
    expect(await publishAgain(counting)).toHaveLength(models.length + 2);
    expect(sent).toEqual([100, 22]);
    expect(await served.newestVersion(rotated)).toBe(2);
    expect(await served.newestVersion('model-119')).toBe(1);
  });
});

describe('publications', () => {
  it('hold as many bytes as the control plane takes, and never part what belongs together', () => {
    const ofBytes = (role: string, bytes: number): SentDocument => ({
      role,
      signed: { text: 'x'.repeat(bytes) },
      signatures: [],
    });
    const mebibyte = 1024 * 1024;
    const together = [ofBytes('root', 10), ofBytes('targets', 10)];
    const others = ['a', 'b', 'c', 'd', 'e'].map((role) => ofBytes(role, 1.5 * mebibyte));
    const batches = toBatches({ together, others });
    expect(batches.map((batch) => batch.map(({ role }) => role))).toEqual([
      ['root', 'targets', 'a', 'b'],
      ['c', 'd'],
      ['e'],
    ]);
    for (const documents of batches) expect(JSON.stringify({ documents }).length).toBeLessThanOrEqual(4 * mebibyte);
    expect(toBatches({ together: [], others: [] })).toEqual([]);
  });
});

describe('when a copy cannot be published', () => {
  it('says which file is missing', async () => {
    const { files, digest } = await served.publish('1.0.0');
    await served.copy();
    await served.lose(MODEL, { from: 1 });
    const [model = Buffer.of()] = files;
    const forget = (hex: string) => {
      rmSync(join(served.out, 'files', hex));
      rmSync(join(served.fixture.directory, 'blobs', hex.slice(0, 2), hex));
    };
    forget(digestHex(digestOf(model)));
    await expect(publishAgain()).rejects.toMatchObject({
      code: 'CLI_FILE_UNREADABLE',
      where: join(served.out, 'files', digestHex(digestOf(model))),
    });
    forget(digestHex(digest));
    await expect(publishAgain()).rejects.toMatchObject({
      code: 'CLI_FILE_UNREADABLE',
      where: join(served.out, 'files', digestHex(digest)),
    });
  });

  it('says that a manifest is damaged', async () => {
    const { digest } = await served.publish('1.0.0');
    await served.copy();
    await served.lose(MODEL, { from: 1 });
    writeFileSync(join(served.out, 'files', digestHex(digest)), '{}');
    await expect(publishAgain()).rejects.toMatchObject({ code: 'CLI_FILE_UNREADABLE', where: digest });
  });

  it('says that what answers is no control plane', async () => {
    await served.publish('1.0.0');
    await served.copy();
    const proxy = createServer((_request, response) => void response.end('{"status":"up"}'));
    await once(proxy.listen(0, '127.0.0.1'), 'listening');
    try {
      const { port } = proxy.address() as AddressInfo;
      await expect(publishAgain(connect(`http://127.0.0.1:${port}`, undefined))).rejects.toMatchObject({
        code: 'CLI_ANSWER_UNREADABLE',
      });
    } finally {
      proxy.close();
      proxy.closeAllConnections();
    }
  });
});
