import { compareVersions } from '@drover/shared/ids';
import type { TensorSignature } from '@drover/shared/manifest';
import { UpdateError } from '../errors.js';
import type { InstalledModel } from '../ports.js';

/** What of a release decides whether it can be tried. */
export type Triable = Pick<InstalledModel, 'model' | 'release' | 'manifest' | 'variant'>;

/**
 * Why a release can't be tried beside the one that serves; undefined where it can. A candidate is given the requests of another release and may answer them, so it has
 * to take and give the same tensors, and be one that the device could be sent to.
 */
export function unfitForTrial(candidate: Triable, active: Triable): UpdateError | undefined {
  const { model, release } = candidate;
  if (release.digest === active.release.digest) {
    return new UpdateError('TRIAL_NOT_POSSIBLE', `${model} ${release.version} is the release that serves.`, {
      remedy: 'Nothing: what was to be tried has been rolled out.',
    });
  }
  if (candidate.variant.sequences ?? active.variant.sequences) {
    return new UpdateError(
      'TRIAL_NOT_POSSIBLE',
      `${model} keeps the state of sequences, and no two releases share one.`,
      {
        remedy: 'Roll the release out to a small stage instead (`drover rollout create`).',
      },
    );
  }
  const { revertFloor } = active.manifest;
  if (revertFloor !== undefined && compareVersions(release.version, revertFloor) < 0) {
    return new UpdateError(
      'DEPLOYMENT_BELOW_REVERT_FLOOR',
      `${model} ${release.version} is to be tried; the publisher allows nothing below ${revertFloor}.`,
      { remedy: `Try ${revertFloor} or later.` },
    );
  }
  const why = difference(candidate, active);
  if (why === undefined) return undefined;
  return new UpdateError(
    'TRIAL_INCOMPATIBLE',
    `${model} ${release.version} can't be tried beside ${active.release.version}: ${why}.`,
    { remedy: 'Try a release with the same task, inputs and outputs, or roll it out to a small stage.' },
  );
}

function difference(candidate: Triable, active: Triable): string | undefined {
  const [task, served] = [candidate.manifest.task, active.manifest.task];
  if (task.type !== served.type) return 'it is for another task';
  if (task.labels?.join('\n') !== served.labels?.join('\n')) return 'its classes are others';
  const [tried, serving] = [candidate.variant.signature, active.variant.signature];
  if (!isSame(tried.inputs, serving.inputs)) return 'its inputs are others';
  return isSame(tried.outputs, serving.outputs) ? undefined : 'its outputs are others';
}

/** By name; their order is the exporter's. */
const isSame = (left: readonly TensorSignature[], right: readonly TensorSignature[]): boolean =>
  left.length === right.length &&
  left.every(({ name, datatype, shape }) => {
    const other = right.find((each) => each.name === name);
    return other?.datatype === datatype && other.shape.join() === shape.join();
  });
