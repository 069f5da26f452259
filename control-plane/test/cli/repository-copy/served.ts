import { join } from 'node:path';
import { sql } from 'kysely';
import { createKeyPair } from '@drover/shared/trust';
import { connect, type Client } from '../../../src/cli/client.js';
import { copyRepository, type Copied } from '../../../src/cli/repository-copy/copy.js';
import { controlPlaneSource, type RepositorySource } from '../../../src/cli/repository-copy/source.js';
import { metadataFiles } from '../../../src/release-repository/index.js';
import {
  beginRepository,
  makeRelease,
  publish,
  startFixture,
  upload,
  type ControlPlaneFixture,
  type TestRelease,
} from '../../control-plane-fixture.js';

export const signal: AbortSignal = new AbortController().signal;
const progress = () => undefined;

/** A control plane behind real HTTP, and the folder that its repository is copied to. */
export interface Served {
  readonly fixture: ControlPlaneFixture;
  readonly client: Client;
  readonly out: string;
  readonly otherKey: ReturnType<typeof createKeyPair>;
  publish(version: string): Promise<TestRelease>;
  copy(source?: RepositorySource, within?: AbortSignal): Promise<Copied>;
  /** As if it had been restored from a backup of before: versions in this range are gone. */
  lose(role: string, range: { readonly from: number; readonly to?: number }): Promise<void>;
  newestVersion(role: string): Promise<number | undefined>;
}

export async function serve(): Promise<Served> {
  const fixture = await startFixture();
  const url = await fixture.app.listen({ host: '127.0.0.1', port: 0 });
  const { authorization = '' } = await fixture.token('admin');
  const client = connect(url, authorization.replace('Bearer ', ''));
  const out = join(fixture.directory, 'copies');
  await beginRepository(fixture);
  return {
    fixture,
    client,
    out,
    otherKey: createKeyPair(),
    async publish(version) {
      const release = makeRelease(version);
      for (const bytes of release.files) await upload(fixture, bytes);
      const answer = await publish(fixture, release);
      if (answer.statusCode !== 201) throw new Error(answer.body);
      return release;
    },
    copy: (source = controlPlaneSource(client), within = signal) =>
      copyRepository({ source, out, metadataOnly: false, signal: within, progress }),
    async lose(role, { from, to = Number.MAX_SAFE_INTEGER }) {
      await sql`drop trigger if exists metadata_files_forbids_delete`.execute(fixture.db);
      await fixture.db
        .deleteFrom('metadata_files')
        .where('role', '=', role)
        .where('version', '>=', from)
        .where('version', '<=', to)
        .execute();
    },
    newestVersion: async (role) => (await metadataFiles(fixture.db).find(`${role}.json`))?.version,
  };
}
