import { digestHex, Version } from '@drover/shared/ids';
import { parametersOf } from '@drover/shared/manifest';
import { assembleParametersRelease } from '@drover/shared/release';
import type { Attack } from './attack.js';
import { refusalOf } from './refusal.js';
import { MODEL, type AttackWorld } from './world.js';

const SITE = 'here';
const line = parametersOf(MODEL);

let number = 0;
/** Sound values, within their bounds, for the model and the site of the victim. */
async function uploaded({ controlPlane }: AttackWorld) {
  number += 1;
  const assembled = assembleParametersRelease(
    {
      model: MODEL,
      compatible: '*',
      parameters: { threshold: { type: 'number', minimum: 0, maximum: 1, default: 0.5 } },
      sites: { [SITE]: { threshold: 0 } },
    },
    { version: Version(`1.${number}.0`), createdAt: new Date() },
  );
  await controlPlane.operator.putBlob(digestHex(assembled.digest), assembled.manifestBytes);
  return assembled;
}

/** The publishers sign some: their line is delegated and lists releases. */
async function signedValues(world: AttackWorld) {
  const release = await uploaded(world);
  await world.publisher.list(release);
  return { version: release.manifest.version, digest: release.digest };
}

/** Nothing is wrong with them but that no publisher signed them. */
async function inventedValues(world: AttackWorld) {
  await signedValues(world);
  const { manifest, digest } = await uploaded(world);
  return { version: manifest.version, digest };
}

/** A release of another line stands where the line lists only its own. */
async function modelInPlace(world: AttackWorld) {
  await signedValues(world);
  const { version, digest } = world.base;
  return { version, digest };
}

const ordered = (name: string, code: string, site: string, releaseOf: typeof inventedValues): Attack => ({
  name,
  attackerHas: "the control plane, its director's key included",
  async carryOut(world) {
    const release = await releaseOf(world);
    const repulse = await refusalOf(world, () => world.sendOrder(world.forgeOrder(release, { model: line, site })), {
      code,
    });
    const answer = await fetch(`${world.victim.endpoint()}/v2/models/${MODEL}/parameters`);
    if (answer.status !== 404) throw new Error(`An application was given ${await answer.text()}`);
    return repulse;
  },
});

/** Attacks with what applications decide by. */
export const parameterAttacks: readonly Attack[] = [
  ordered('parameters that no publisher signed', 'RELEASE_NOT_LISTED', SITE, inventedValues),
  ordered('a release of the model in place of its parameters', 'RELEASE_NOT_LISTED', SITE, modelInPlace),
  // Signed, and for a site that is not the victim's: only the site is wrong.
  ordered('parameters of another site', 'DEPLOYMENT_WRONG_SITE', 'elsewhere', signedValues),
];
