import type { InstalledModel, SwapOutlook } from '../../update/ports.js';
import { ServeError } from '../errors.js';

// What an operator is told when applications went without a model for a while, or might have.

export const recycled = ({
  beforeMiB = 0,
  ceilingMiB,
  outageMs,
}: {
  readonly beforeMiB?: number | undefined;
  readonly ceilingMiB: number;
  readonly outageMs: number;
}): ServeError =>
  new ServeError(
    'INFERENCE_RECYCLED',
    `The inference process had grown to ${Math.round(beforeMiB)} MiB, above ${Math.round(ceilingMiB)}; another has taken its place${
      outageMs === 0
        ? ' without an outage'
        : `. There was no room for both, so nothing was served for ${Math.round(outageMs)} ms`
    }.`,
    {
      remedy: 'Nothing, if it is seldom. Else send smaller batches, serve fewer models, or raise serve.maxResidentMiB.',
    },
  );

export const stoppedFirst = (
  { model, release }: InstalledModel,
  { needMiB, availableMiB, outageMs }: SwapOutlook & { readonly outageMs: number },
): ServeError =>
  new ServeError(
    'MODEL_STOPPED_FIRST',
    `${model} was stopped before ${release.version} was loaded, which needs about ${Math.round(needMiB)} MiB of ${Math.round(availableMiB)} that were available; nothing of it was served for ${Math.round(outageMs)} ms.`,
    { remedy: 'Nothing. To have no outage, free memory on the device, or publish smaller variants.' },
  );
