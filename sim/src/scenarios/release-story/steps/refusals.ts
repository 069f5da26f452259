import { randomBytes } from 'node:crypto';
import { buildDenseClassifier } from '@drover/agent/learn';
import { digestHex, digestOf, newDeploymentId, Version, type DeviceId } from '@drover/shared/ids';
import type { Manifest } from '@drover/shared/manifest';
import { signDeployment, type Deployment, type RefusalBody, type TransitionBody } from '@drover/shared/protocol';
import { bulkSigner, createKeyPair } from '@drover/shared/trust';
import { until } from '../../../fleet/index.js';
import type { Attacker } from '../attacker.js';
import { runningVersions } from '../fleet-state.js';
import { publish } from '../publishing.js';
import { createRollout, followRollout, reportsOf } from '../rollout.js';
import { need, type Facts, type PublishedRelease, type Scene } from '../scene.js';

const TIMEOUT_MS = 20_000;
const HOUR_MS = 3_600_000;

/**
 * 9. A tampered release, a replayed order, an order signed by a wrong key, and a release that the publishers never listed, ordered by whoever holds the
 * control plane: each is refused by the device, with the reason.
 */
export async function refusals(scene: Scene, facts: Facts): Promise<string> {
  const attacker = need(facts.attacker, 'the attacker');
  const before = await runningVersions(scene);
  const told = [
    await tamperedRelease(scene, facts, attacker),
    await replayedOrder(scene, facts, attacker),
    await wrongKey(scene, facts, attacker),
    await stolenControlPlane(scene, facts, attacker),
  ];
  const after = await runningVersions(scene);
  const changed = [...before].filter(([device, version]) => after.get(device) !== version).map(([device]) => device);
  if (changed.length > 0)
    throw new Error(`These devices run something else than before the attacks: ${changed.join(', ')}.`);
  return told.join('; ');
}

/** One bit of a stored file is flipped after it was published. */
async function tamperedRelease(scene: Scene, facts: Facts, attacker: Attacker): Promise<string> {
  const first = need(facts.firstModel, 'a trained model');
  const victim = victimOf(facts, 0);
  const bytes = buildDenseClassifier({
    features: first.portions.train.width,
    hidden: [8],
    classes: scene.world.labels.length,
    seed: scene.seed + 3,
  });
  const release = await publish(scene, {
    version: '1.1.1',
    trained: { ...first, bytes },
    description: 'To be tampered with',
  });
  const file = need(release.manifest.variants[0], 'a variant').model;
  await attacker.tamper(file.digest);
  const { id } = await createRollout(scene, { version: '1.1.1', devices: [victim] });
  const refused = await until(
    async () =>
      (await reportsOf<TransitionBody>(scene.controlPlane.operator, 'transition', 0, victim)).find(
        ({ body }) => body.release.digest === release.digest && body.error !== undefined,
      )?.body.error,
    { what: `${victim} to refuse the tampered release`, timeoutMs: TIMEOUT_MS, signal: scene.signal },
  );
  const rollout = await followRollout(scene, id, 60_000);
  if (rollout.state === 'completed') throw new Error('The rollout of the tampered release was completed.');
  return `tampered release: ${refused.code}`;
}

/** An order that was good once: the device was told since to run something else. */
async function replayedOrder(scene: Scene, facts: Facts, attacker: Attacker): Promise<string> {
  const victim = need(
    facts.fleet.map(({ id }) => id).find((id) => attacker.overheard(id).length >= 2),
    'a device with two orders to its name',
  );
  const old = need(attacker.overheard(victim).at(-2), 'an overheard order');
  const refusal = await refusalAfter(scene, victim, () => attacker.publishOrder(victim, old));
  if (refusal.error.code !== 'DEPLOYMENT_REPLAYED')
    throw new Error(`The replayed order was refused as ${refusal.error.code}.`);
  return `replayed order: ${refusal.error.code} by ${victim}`;
}

/** An order in perfect form, signed by a key that the device does not know as its director. */
async function wrongKey(scene: Scene, facts: Facts, attacker: Attacker): Promise<string> {
  const victim = victimOf(facts, 1);
  const target = need(facts.releases.get('1.1.0') ?? facts.releases.get('1.0.0'), 'a release');
  const key = scene.sabotage === 'refusals' ? await attacker.stealDirectorKey() : createKeyPair('attacker');
  const order = forgedOrder(scene, victim, target, 0);
  const refusal = await refusalAfter(scene, victim, () =>
    attacker.publishOrder(victim, signDeployment(order, bulkSigner(key))),
  );
  if (refusal.error.code !== 'SIGNATURE_BELOW_THRESHOLD')
    throw new Error(`The forged order was refused as ${refusal.error.code}.`);
  return `order by a wrong key: ${refusal.error.code} by ${victim}`;
}

/** Whoever has the control plane has its director's key and its file store. What the publishers did not list is refused all the same. */
async function stolenControlPlane(scene: Scene, facts: Facts, attacker: Attacker): Promise<string> {
  const victim = victimOf(facts, 2);
  const known = need(facts.releases.get('1.0.0'), 'release 1.0.0');
  const manifest: Manifest = { ...known.manifest, version: Version('9.9.9'), description: 'Made by the attacker' };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const digest = digestOf(bytes);
  await scene.controlPlane.operator.putBlob(digestHex(digest), bytes);
  const order = forgedOrder(scene, victim, { version: manifest.version, digest }, 1);
  const key = await attacker.stealDirectorKey();
  const refusal = await refusalAfter(scene, victim, () =>
    attacker.publishOrder(victim, signDeployment(order, bulkSigner(key))),
  );
  if (refusal.error.code !== 'RELEASE_NOT_LISTED')
    throw new Error(`What the publishers never listed was refused as ${refusal.error.code}.`);
  return `release of a stolen control plane: ${refusal.error.code} by ${victim}`;
}

function forgedOrder(
  { model }: Scene,
  deviceId: DeviceId,
  { version, digest }: Pick<PublishedRelease, 'version' | 'digest'>,
  epoch: number,
): Deployment {
  const now = Date.now();
  return {
    protocol: 1,
    kind: 'deployment',
    deploymentId: newDeploymentId(),
    deviceId,
    model,
    release: { version, digest },
    hardwareClass: 'generic',
    epoch,
    counter: 1_000_000,
    nonce: randomBytes(16).toString('hex'),
    issuedAt: now,
    expiresAt: now + HOUR_MS,
    probation: { minMs: 0, minRequests: 0, maxMs: 1_000, maxFailureShare: 1, maxCrashes: 100 },
  };
}

async function refusalAfter(
  { controlPlane, signal }: Scene,
  device: DeviceId,
  attack: () => Promise<void>,
): Promise<RefusalBody> {
  const after = (await reportsOf(controlPlane.operator, 'refusal', 0, device)).at(-1)?.id ?? 0;
  await attack();
  return until(async () => (await reportsOf<RefusalBody>(controlPlane.operator, 'refusal', after, device))[0]?.body, {
    what: `${device} to refuse the order`,
    timeoutMs: TIMEOUT_MS,
    signal,
  });
}

const victimOf = (facts: Facts, index: number): DeviceId => need(facts.fleet[index]?.id, 'a fleet');
