import type { DeviceId, Digest, ModelName, Version } from '@drover/shared/ids';
import {
  isCompatible,
  isOfKind,
  kindOf,
  parametersOf,
  partsOf,
  variantFor,
  type Manifest,
  type ReleaseManifest,
} from '@drover/shared/manifest';
import type { Db } from '../database/index.js';
import type { Device } from '../devices/index.js';
import { releases } from '../registry/index.js';
import { RolloutError } from './errors.js';
import type { RolloutRequest } from './request.js';

/** Names of devices in a message: enough to find the rest. */
const NAMED = 3;

/**
 * Refuses a rollout that devices could only refuse themselves, before anything is ordered. Which platform a device is of, and which release of a
 * model it runs at that moment, it alone knows.
 *
 * @throws RolloutError ROLLOUT_INVALID, ROLLOUT_KIND_NOT_TAKEN, ROLLOUT_PARAMETERS_INCOMPATIBLE; ManifestError MANIFEST_NO_VARIANT
 */
export async function verifyFit(
  db: Db,
  request: RolloutRequest,
  manifest: ReleaseManifest,
  devices: readonly Device[],
): Promise<void> {
  refuseUntaken(request.model, devices);
  if (isOfKind('model', manifest)) {
    refuseUnread(manifest, devices);
    for (const hardwareClass of new Set(devices.map((device) => device.hardwareClass)))
      variantFor(manifest, hardwareClass);
    if (request.withoutParameters !== true) await refuseDormant(db, request, devices);
  } else if (request.gate.metric === 'accuracy') throw hasNoAccuracy(request.model);
}

function refuseUntaken(line: ModelName, devices: readonly Device[]): void {
  const kind = kindOf(line);
  const unable = devices.filter(({ takes }) => !takes.includes(kind));
  if (unable.length === 0) return;
  const { what, why, remedy } = UNABLE[kind];
  throw new RolloutError('ROLLOUT_KIND_NOT_TAKEN', `${some(unable)} cannot carry out ${what}: ${why}.`, { remedy });
}

/** An agent refuses a manifest with a key that it does not know, however good the model: it says which of the later ones it reads. */
function refuseUnread(manifest: Manifest, devices: readonly Device[]): void {
  for (const part of partsOf(manifest)) {
    const unable = devices.filter(({ takes }) => !takes.includes(part));
    if (unable.length === 0) continue;
    const what = `${some(unable)} cannot read a manifest with "${part}": ${OLD_AGENT.why}.`;
    throw new RolloutError('ROLLOUT_KIND_NOT_TAKEN', what, { remedy: OLD_AGENT.remedy });
  }
}

const OLD_AGENT = {
  why: 'the agent there is too old, or has not reported since it enrolled',
  remedy: 'Update these agents first (`drover agent publish`), or select other devices.',
};
const UNABLE = {
  model: { what: 'releases of models', ...OLD_AGENT },
  agent: {
    what: 'releases of the agent',
    why: 'no launcher started the agent there',
    remedy: 'Update these agents the way they were installed (a new container image), or select other devices.',
  },
  parameters: { what: 'releases of parameters', ...OLD_AGENT },
} as const;

/** A device whose parameters are not for the release would go on without any: nobody shall find that out on the line. */
async function refuseDormant(db: Db, { model, version }: RolloutRequest, devices: readonly Device[]): Promise<void> {
  const inForce = await parametersInForce(db, parametersLine(model));
  const compatible = new Map<Digest, string | undefined>();
  const left: { readonly device: Device; readonly range: string }[] = [];
  for (const device of devices) {
    const digest = inForce.get(device.id);
    if (digest === undefined) continue;
    if (!compatible.has(digest)) compatible.set(digest, await rangeUnlessFor(db, digest, version));
    const range = compatible.get(digest);
    if (range !== undefined) left.push({ device, range });
  }
  const [first] = left;
  if (!first) return;
  throw new RolloutError(
    'ROLLOUT_PARAMETERS_INCOMPATIBLE',
    `${some(left.map(({ device }) => device))} would go on without parameters: those in force are for ${model} ${first.range}, not for ${version}.`,
    {
      remedy:
        'Publish parameters whose range holds both releases and roll them out first, or create the rollout with `--without-parameters`.',
    },
  );
}

/** The range of the parameters; undefined where it holds this release of the model. */
async function rangeUnlessFor(db: Db, digest: Digest, version: Version): Promise<string | undefined> {
  const manifest = (await releases(db).findByDigest(digest))?.manifest;
  if (!manifest || !isOfKind('parameters', manifest) || isCompatible(manifest, version)) return undefined;
  return manifest.compatible;
}

/** A name that is too long to have parameters has none. */
const parametersLine = (model: ModelName): ModelName | undefined => {
  try {
    return parametersOf(model);
  } catch {
    return undefined;
  }
};

async function parametersInForce(db: Db, line: ModelName | undefined): Promise<Map<DeviceId, Digest>> {
  const found = new Map<DeviceId, Digest>();
  if (line === undefined) return found;
  const rows = await db
    .selectFrom('device_models')
    .select(['device_id', 'running_digest'])
    .where('model', '=', line)
    .execute();
  for (const { device_id, running_digest } of rows) if (running_digest !== null) found.set(device_id, running_digest);
  return found;
}

function some(devices: readonly Device[]): string {
  const names = devices.slice(0, NAMED).map(({ id }) => id);
  const more = devices.length > NAMED ? ` and ${devices.length - NAMED} others` : '';
  return `${names.join(', ')}${more}`;
}

const hasNoAccuracy = (line: ModelName) =>
  new RolloutError('ROLLOUT_INVALID', `${line} is no model and has no accuracy to be judged by.`, {
    remedy: 'Judge it by failures: "metric": "failures" in the gate, or `drover rollout create … --judge failures`.',
  });
