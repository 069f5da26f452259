import { stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { availableMemoryMiB } from '../../host/memory.js';
import type { InstalledModel } from '../../update/ports.js';
import type { PlacedModel } from '../inline/active-model.js';
import { hasBatchAxis } from '../scheduling/batch.js';
import { decidePlacement, type Machine } from '../scheduling/placement.js';
import { areRowsIndependent, fastestRunMs, readGoldenVectors } from '../session/golden.js';
import type { OpenedSession } from '../session/model-session.js';

export interface PlaceOptions extends Pick<Machine, 'maxBatchDelayMs'> {
  /** In this thread, which is that of the protocol. */
  readonly openHere: (model: InstalledModel) => Promise<PlacedModel>;
  readonly openWorker: (model: InstalledModel) => Promise<OpenedSession>;
  /** A further session could not be opened; those that are there go on. */
  readonly onIncident: (error: unknown) => void;
}

/**
 * Loads a model into a worker, measures it there, and says where it belongs: one that is done sooner than it could be handed over moves into this thread, and of the others
 * further sessions are opened when requests wait.
 *
 * @throws what the two ways of opening throw
 */
export async function placeModel(model: InstalledModel, options: PlaceOptions): Promise<PlacedModel> {
  const { openHere, openWorker, onIncident, maxBatchDelayMs } = options;
  const first = await openWorker(model);
  const { session, provider } = first;
  try {
    const vectors = await readGoldenVectors(model);
    const runMs = await fastestRunMs(session, vectors);
    // Rows of several sequences would need their states side by side.
    const isBatchable =
      model.variant.sequences === undefined &&
      hasBatchAxis(model.variant.signature) &&
      (await areRowsIndependent(session, { manifest: model.manifest, provider: provider.actual }, vectors));
    const { size: fileBytes } = await stat(model.modelFile);
    const { where, maxSessions, batching } = decidePlacement(
      { runMs, isBatchable, fileBytes, provider: provider.actual },
      { cores: availableParallelism(), freeBytes: availableMemoryMiB() * 1024 ** 2, maxBatchDelayMs },
    );
    if (where === 'inline') {
      const here = await openHere(model);
      await session.close();
      return { ...here, batching };
    }
    const open = async () => {
      try {
        return (await openWorker(model)).session;
      } catch (error) {
        onIncident(error);
        return undefined;
      }
    };
    return { session, provider, batching, growth: { maxSessions, open } };
  } catch (error) {
    await session.close();
    throw error;
  }
}
