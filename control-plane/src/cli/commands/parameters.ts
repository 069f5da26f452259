import { Command } from 'commander';
import { Version } from '@drover/shared/ids';
import { siteValues, type ParametersManifest, type SiteValues } from '@drover/shared/manifest';
import type { ParametersView } from '../../registry/index.js';
import { releaseBelow } from '../../registry/release-below.js';
import type { Client } from '../client.js';
import { RemoteError } from '../errors.js';
import type { Session } from '../program.js';
import { formatTable, formatTime } from '../terminal.js';
import { parseModelOrRelease } from '../units.js';
import { uploadAndSign, withSigners, type SignersGiven } from './publishing.js';

interface PublishOptions extends SignersGiven {
  readonly version: string;
  readonly dryRun?: boolean;
}

type Published = Pick<ParametersView, 'version' | 'digest'> & { readonly withdrawnAt?: number };

export const parametersCommands = (session: Session): Command => {
  const { client, answer } = session;
  const parameters = new Command('parameters').description('Parameters of a model that differ from site to site.');

  parameters
    .command('lint')
    .description('Check a file of parameters, and show what each site would get. Needs no control plane.')
    .argument('<file>')
    .addHelpText('after', '\nExample:\n  drover parameters lint gas-classifier.parameters.json')
    .action(async (file: string) => {
      const { buildParametersRelease } = await import('../release-builder/parameters-release.js');
      const { manifest } = buildParametersRelease({ file, version: '0.0.0', createdAt: new Date() });
      const sites = siteValues(manifest);
      answer({ model: manifest.model, compatible: manifest.compatible, sites }, valuesTable(sites));
    });

  const publish = parameters
    .command('publish')
    .description('Sign a file of parameters as a release and publish it; --dry-run only shows what would change.')
    .argument('<file>', 'parameters of one model, for all sites');
  withSigners(publish, 'the list of these releases')
    .requiredOption('--version <version>', 'version of this release, such as 1.0.0')
    .option('--dry-run', 'publish nothing: show what each site would get, and what differs from the release before')
    .addHelpText(
      'after',
      '\nExample:\n  drover parameters publish gas-classifier.parameters.json --version 1.1.0 --key publisher.key' +
        '\n  drover rollout create gas-classifier--parameters@1.1.0 --stages canary:1,all:100%',
    )
    .action(async (file: string, options: PublishOptions) => {
      const { buildParametersRelease, readParameters } = await import('../release-builder/parameters-release.js');
      const target = client();
      const { model } = readParameters(file);
      const before = releaseBelow(await publishedParameters(target, model), Version(options.version));
      const release = buildParametersRelease({
        file,
        version: options.version,
        createdAt: new Date(),
        parent: before?.digest,
      });
      const line = release.manifest.model;
      const name = `${line}@${options.version}`;
      const sites = siteValues(release.manifest, before && (await contentOf(target, line, before.version)));
      if (options.dryRun === true) {
        const heading = before ? `Against ${before.version}:\n` : 'The first release:\n';
        answer(
          { model: line, version: options.version, against: before?.version, sites },
          `${heading}${before ? changesTable(sites) : valuesTable(sites)}`,
        );
        return;
      }
      const signed = await uploadAndSign(session, { client: target, release, signers: options });
      answer(
        { model: line, version: options.version, digest: release.digest, ...signed },
        signed.published
          ? `${name} is published: ${release.digest}\nNext: drover rollout create ${name}`
          : `Uploaded, and more signatures are needed: drover keys sign ${signed.file} --key THEIR.key\nThen: drover keys publish ${signed.file}`,
      );
    });

  parameters
    .command('show')
    .description('List the releases of the parameters of a model, or show what one of them gives to each site.')
    .argument('<model[@version]>')
    .option('--against <version>', 'release to compare with (default: the one before)')
    .addHelpText('after', '\nExample:\n  drover parameters show gas-classifier@1.1.0')
    .action(async (name: string, { against }: { against?: string }) => {
      const { model, version } = parseModelOrRelease(name);
      const path = `/models/${encodeURIComponent(model)}/parameters`;
      if (version === undefined) {
        const list = await client().get<{ items: (Published & ParametersView)[] }>(path);
        const rows = list.items.map((item) => [
          item.version,
          item.compatible,
          formatTime(item.publishedAt),
          item.publishedBy,
          item.withdrawnAt === undefined ? '' : 'withdrawn',
        ]);
        answer(list, formatTable(['VERSION', 'FOR RELEASES', 'PUBLISHED (UTC)', 'BY', ''], rows));
        return;
      }
      const query = against === undefined ? '' : `?against=${encodeURIComponent(against)}`;
      const view = await client().get<ParametersView>(`${path}/${encodeURIComponent(version)}${query}`);
      const changed = view.against === undefined ? '' : `\n\nAgainst ${view.against}:\n${changesTable(view.sites)}`;
      answer(view, `For ${view.model} ${view.compatible}.\n${valuesTable(view.sites)}${changed}`);
    });
  return parameters;
};

const siteName = (site: string | undefined): string => site ?? '(all others)';

function valuesTable(sites: readonly (SiteValues & { readonly devices?: number })[]): string {
  const names = Object.keys(sites[0]?.values ?? {});
  const isCounted = sites.some(({ devices }) => devices !== undefined);
  return formatTable(
    ['SITE', ...(isCounted ? ['DEVICES'] : []), ...names],
    sites.map(({ site, devices, values }) => [
      siteName(site),
      ...(isCounted ? [devices] : []),
      ...names.map((name) => JSON.stringify(values[name])),
    ]),
  );
}

function changesTable(sites: readonly SiteValues[]): string {
  const rows = sites.flatMap(({ site, changes }) =>
    changes.map(({ name, before, after }) => [siteName(site), name, said(before), said(after)]),
  );
  return rows.length === 0 ? 'No site gets other values.' : formatTable(['SITE', 'PARAMETER', 'BEFORE', 'AFTER'], rows);
}

const said = (value: unknown): string => (value === undefined ? '' : JSON.stringify(value));

/** None where there is no line yet. */
async function publishedParameters(client: Client, model: string): Promise<readonly Published[]> {
  try {
    return (await client.get<{ items: Published[] }>(`/models/${encodeURIComponent(model)}/parameters`)).items;
  } catch (error) {
    if (error instanceof RemoteError && error.code === 'MODEL_UNKNOWN') return [];
    throw error;
  }
}

async function contentOf(client: Client, line: string, version: string): Promise<ParametersManifest> {
  const { manifest } = await client.get<{ manifest: ParametersManifest }>(
    `/models/${encodeURIComponent(line)}/releases/${encodeURIComponent(version)}`,
  );
  return manifest;
}
