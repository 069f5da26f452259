import { gunzipSync } from 'node:zlib';
import { paddingOf, parseUstarHeader, USTAR_BLOCK_BYTES } from '@drover/shared/archive';
import { Version } from '@drover/shared/ids';
import { MAX_UNPACKED_BYTES, type Platform } from '@drover/shared/manifest';
import { assembleAgentRelease } from '@drover/shared/release';
import { CliError } from '../errors.js';
import { readFile } from '../files.js';

export interface AgentBuildOptions {
  readonly bundleFiles: readonly string[];
  /** What all bundles have to be of; that of the first one when absent. */
  readonly version?: string | undefined;
  readonly description?: string | undefined;
  readonly revertFloor?: string | undefined;
  readonly createdAt: Date;
}

/** @throws CliError CLI_BUNDLE_UNREADABLE, CLI_FILE_UNREADABLE; ManifestError; IdError */
export function buildAgentRelease({ bundleFiles, version, revertFloor, ...rest }: AgentBuildOptions) {
  const bundles = bundleFiles.map((file) => readBundle(file));
  const wanted = version ?? bundles[0]?.version ?? '';
  for (const { file, version: found } of bundles) {
    if (found !== wanted)
      throw unreadable(file, `it is of version ${found}, and the release of ${wanted}`, 'Give bundles of one version.');
  }
  return assembleAgentRelease({
    version: Version(wanted),
    createdAt: rest.createdAt,
    description: rest.description,
    bundles,
    revertFloor: revertFloor === undefined ? undefined : Version(revertFloor),
  });
}

interface Bundle {
  readonly file: string;
  readonly version: string;
  readonly platform: Platform;
  readonly bytes: Buffer;
  readonly unpackedBytes: number;
}

/** Reads the whole archive the way a device does, so that what no device would unpack is not published. */
function readBundle(file: string): Bundle {
  const bytes = readFile(file);
  const archive = unzipped(file, bytes);
  let unpackedBytes = 0;
  const contents = new Map<string, Buffer>();
  for (let offset = 0; ;) {
    const entry = parseUstarHeader(archive.subarray(offset, offset + USTAR_BLOCK_BYTES));
    if (entry === 'end') break;
    if ('refused' in entry) throw unreadable(file, entry.refused);
    offset += USTAR_BLOCK_BYTES;
    contents.set(entry.path, archive.subarray(offset, offset + entry.bytes));
    offset += entry.bytes + paddingOf(entry.bytes);
    unpackedBytes += entry.bytes;
  }
  const inside = (name: string): Buffer | undefined =>
    [...contents].find(
      ([path]) => /^drover-agent-[^/]+\//.test(path) && path.endsWith(`/${name}`) && path.split('/').length === 2,
    )?.[1];
  const facts = inside('BUNDLE')?.toString('utf8') ?? '';
  const fact = (key: string): string => new RegExp(`^${key}=(.*)$`, 'm').exec(facts)?.[1] ?? '';
  if (!inside('FILES') || fact('version') === '') throw unreadable(file, 'it is no bundle of the agent');
  const platform = { os: fact('os'), arch: fact('arch'), nodeAbi: fact('nodeAbi') };
  return { file, version: fact('version'), platform, bytes, unpackedBytes };
}

function unzipped(file: string, bytes: Buffer): Buffer {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  try {
    return gunzipSync(bytes, { maxOutputLength: MAX_UNPACKED_BYTES });
  } catch (cause) {
    throw unreadable(file, (cause as Error).message, undefined, cause);
  }
}

const unreadable = (
  where: string,
  why: string,
  remedy = 'Make it again with firmware-images/systemd/bundle.mjs.',
  cause?: unknown,
) => new CliError('CLI_BUNDLE_UNREADABLE', `The bundle cannot be published: ${why}.`, { where, remedy, cause });
