import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { publish as publishRelease } from '../publishing.js';
import { need, type Facts, type Scene } from '../scene.js';

/** 2. A release repository, and release 1.0.0 in it, signed with keys that the control plane does not hold. */
export async function publish(scene: Scene, facts: Facts): Promise<string> {
  const { operator } = scene.controlPlane;
  await scene.publisher.begin();
  const release = await publishRelease(scene, {
    version: '1.0.0',
    trained: need(facts.firstModel, 'a trained model'),
    description: 'First classifier',
    spoilGolden: scene.sabotage === 'rollout',
  });
  facts.releases.set('1.0.0', release);
  const { items } = await operator.get<{ items: { version: string; digest: string }[] }>(
    `/api/v1/models/${scene.model}/releases`,
  );
  if (!items.some(({ version, digest }) => version === '1.0.0' && digest === release.digest)) {
    throw new Error('The registry does not list the release under the digest that was signed.');
  }
  for (const seed of scene.publisher.seeds) {
    if (await holdsSeed(scene.controlPlane.dataDir, seed))
      throw new Error("A publisher's private key lies in the data folder of the control plane.");
  }
  const { threshold } = release.manifest.drift ?? { threshold: NaN };
  return `${release.digest.slice(0, 19)}… signed by ${scene.publisher.authors.map(({ keyId }) => `${keyId.slice(0, 12)}…`).join(' and ')}; drift threshold ${threshold.toFixed(3)}`;
}

async function holdsSeed(folder: string, seed: string): Promise<boolean> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile() && (await readFile(join(entry.parentPath, entry.name))).includes(seed)) return true;
  }
  return false;
}
