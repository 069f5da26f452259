import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestHex, digestOf, type Digest } from '@drover/shared/ids';
import { nextRoot } from '@drover/shared/trust/ceremony';
import { metadataParts } from '../../../src/cli/bundle/parts.js';
import { CliError } from '../../../src/cli/errors.js';
import { repositoryFolder } from '../../../src/cli/repository-copy/folder.js';
import { controlPlaneSource, type RepositorySource } from '../../../src/cli/repository-copy/source.js';
import { metadataFiles } from '../../../src/release-repository/index.js';
import { MODEL, publication, signedBy } from '../../control-plane-fixture.js';
import { serve, signal, type Served } from './served.js';

let served: Served;
beforeEach(async () => {
  served = await serve();
});
afterEach(() => served.fixture.close());

const inFolder = (...path: string[]) => join(served.out, ...path);
const metadataIn = () => readdirSync(inFolder('metadata')).sort();

/** The real source, which breaks off after so many bytes; counts what is asked for. */
function breaking(afterBytes: number, failure: Error) {
  const asked: Digest[] = [];
  const real = controlPlaneSource(served.client);
  let left = afterBytes;
  const source: RepositorySource = {
    ...real,
    async *file(digest, within) {
      asked.push(digest);
      for await (const part of real.file(digest, within)) {
        left -= part.length;
        if (left < 0) throw failure;
        yield part;
      }
    },
  };
  return { source, asked };
}

describe('when a copy breaks off', () => {
  it('leaves no metadata that names files which are not there, and goes on from the files that are', async () => {
    const { manifestBytes, digest } = await served.publish('1.0.0');
    const failure = new Error('the line is cut');
    const cut = breaking(manifestBytes.length + 100, failure);
    await expect(served.copy(cut.source)).rejects.toBe(failure);
    expect(metadataIn()).toEqual(['1.root.json']);
    expect(readdirSync(inFolder('files'))).toEqual([digestHex(digest)]);

    const whole = breaking(Infinity, failure);
    expect(await served.copy(whole.source)).toMatchObject({ files: 2 });
    expect(whole.asked).not.toContain(digest);
    expect(metadataIn()).toEqual([`1.${MODEL}.json`, '1.root.json', '1.targets.json']);
  });

  it('because of the user, says so, and leaves nothing half-written', async () => {
    await served.publish('1.0.0');
    const interruption = new AbortController();
    const reason = new CliError('CLI_INTERRUPTED', 'Interrupted.', { remedy: 'Again.' });
    const real = controlPlaneSource(served.client);
    const source: RepositorySource = {
      ...real,
      async *file(digest, within) {
        for await (const part of real.file(digest, within)) {
          interruption.abort(reason);
          yield part;
        }
      },
    };
    await expect(served.copy(source, interruption.signal)).rejects.toBe(reason);
    expect(readdirSync(inFolder('files'))).toEqual([]);
  });

  it('because of this disk, blames the disk and not the source', async () => {
    await served.publish('1.0.0');
    writeFileSync(join(served.fixture.directory, 'copies'), 'a file where a folder should be');
    await expect(served.copy()).rejects.toMatchObject({ code: 'CLI_FILE_UNWRITABLE' });
  });

  it('because the source gives other bytes, keeps none of them', async () => {
    await served.publish('1.0.0');
    const real = controlPlaneSource(served.client);
    const lying: RepositorySource = {
      ...real,
      async *file() {
        await Promise.resolve();
        yield Buffer.from('something else');
      },
    };
    await expect(served.copy(lying)).rejects.toMatchObject({ code: 'CLI_FILE_UNREADABLE' });
    expect(readdirSync(inFolder('files'))).toEqual([]);
  });
});

describe('when a folder follows a repository', () => {
  it('fetches only what it lacks, and again what its disk has spoilt', async () => {
    const first = await served.publish('1.0.0');
    expect(await served.copy()).toMatchObject({ files: 3 });
    expect(await served.copy()).toMatchObject({ files: 0 });
    await served.publish('1.1.0');
    const spoilt = inFolder('files', digestHex(digestOf(first.files[0] ?? Buffer.of())));
    writeFileSync(spoilt, 'X', { flag: 'r+' });
    expect(await served.copy()).toMatchObject({ files: 4 });
    expect(digestOf(readFileSync(spoilt))).toBe(digestOf(first.files[0] ?? Buffer.of()));
  });

  it('refuses to read metadata under the name of another version', async () => {
    await served.publish('1.0.0');
    await served.copy();
    writeFileSync(inFolder('metadata', '9.targets.json'), readFileSync(inFolder('metadata', '1.targets.json')));
    const folder = repositoryFolder(served.out);
    expect(() => folder.read('targets', { role: 'targets', version: 9 })).toThrow(
      expect.objectContaining({ code: 'CLI_FILE_UNREADABLE' }) as Error,
    );
  });
});

describe('when a repository begins later than with version 1', () => {
  it('is copied and exported from its oldest root on', async () => {
    await served.publish('1.0.0');
    const { fixture } = served;
    for (let version = 2; version <= 3; version++) {
      const current = await metadataFiles(fixture.db).current();
      if (!current) throw new Error('there is no repository');
      const root = nextRoot(current.root.signed, {}, fixture.clock.at + 365 * 86_400_000);
      expect((await publication(fixture, [signedBy('root', root, fixture.publisher)])).statusCode).toBe(201);
    }
    await served.lose('root', { from: 1, to: 1 });

    const { parts } = await metadataParts(served.client, MODEL, signal);
    expect(parts.map(({ name }) => name).filter((name) => name.endsWith('.root.json'))).toEqual([
      'metadata/2.root.json',
      'metadata/3.root.json',
    ]);
    await served.copy();
    expect(metadataIn()).toContain('2.root.json');
    expect(existsSync(inFolder('metadata', '1.root.json'))).toBe(false);
  });
});
