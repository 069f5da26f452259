import { digestHex, Version } from '@drover/shared/ids';
import { parametersOf } from '@drover/shared/manifest';
import { assembleParametersRelease } from '@drover/shared/release';
import type { Attack } from './attack.js';
import { refusalOf } from './refusal.js';
import { MODEL, type AttackWorld } from './world.js';

const SITE = 'here';
const line = parametersOf(MODEL);

/** Sound values, within their bounds, for the model and the site of the victim: nothing is wrong with them but that no publisher signed them. */
async function inventedValues({ controlPlane }: AttackWorld) {
  const { manifest, manifestBytes, digest } = assembleParametersRelease(
    {
      model: MODEL,
      compatible: '*',
      parameters: { threshold: { type: 'number', minimum: 0, maximum: 1, default: 0.5 } },
      sites: { [SITE]: { threshold: 0 } },
    },
    { version: Version('1.0.0'), createdAt: new Date() },
  );
  await controlPlane.operator.putBlob(digestHex(digest), manifestBytes);
  return { version: manifest.version, digest };
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
  ordered('a release of the model in place of its parameters', 'RELEASE_NOT_LISTED', SITE, ({ base }) =>
    Promise.resolve({ version: base.version, digest: base.digest }),
  ),
  ordered('parameters of another site', 'DEPLOYMENT_WRONG_SITE', 'elsewhere', inventedValues),
];
