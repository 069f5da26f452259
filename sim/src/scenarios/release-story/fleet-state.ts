import { seededRandom } from '@drover/shared/statistics';
import { startApplication, type Application } from '../../fleet/index.js';
import { INPUT, SCORES } from './publishing.js';
import { PACE, type Facts, type Scene } from './scene.js';

/** One application per device: asks about its sensors, and sends the truth when it knows it. */
export function startApplications(scene: Scene, facts: Facts): void {
  for (const device of facts.fleet) {
    const stream = scene.world.stream(device.id, device.site);
    const random = seededRandom(scene.seed).fork(`wrong labels ${device.id}`);
    const next = () => {
      const batch = stream.next(PACE.rowsPerRequest);
      if (!facts.mislabelled.has(device.id)) return batch;
      return { ...batch, labels: batch.labels.map(() => random.nextInt(scene.world.labels.length)) };
    };
    const application = startApplication({
      endpoint: () => device.endpoint(),
      model: scene.model,
      inputName: INPUT,
      scoresName: SCORES,
      intervalMs: PACE.requestIntervalMs,
      labelled: true,
      next,
    });
    facts.applications.set(device.id, application);
    facts.closers.push(() => application.stop());
  }
}

/** Version that each device runs, by its last signed state report. */
export async function runningVersions({ controlPlane, model }: Scene): Promise<Map<string, string | undefined>> {
  const { items } = await controlPlane.operator.get<{
    items: { id: string; models: { model: string; running?: { release: { version: string } } }[] }[];
  }>('/api/v1/devices');
  return new Map(
    items.map(({ id, models }) => [id, models.find((entry) => entry.model === model)?.running?.release.version]),
  );
}

export function totals(applications: Iterable<Application>) {
  const sum = { requests: 0, failures: 0, rows: 0, correct: 0 };
  for (const { counts } of applications) {
    sum.requests += counts.requests;
    sum.failures += counts.failures;
    sum.rows += counts.rows;
    sum.correct += counts.correct;
  }
  return sum;
}
