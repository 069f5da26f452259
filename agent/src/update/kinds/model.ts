import { contractFor, variantFor } from '@drover/shared/manifest';
import { UpdateError } from '../errors.js';
import { withDeadline } from '../deadline.js';
import { refuseForeignFiles } from '../model-file.js';
import type { GoldenCompared, InstalledModel, Replaced, Serving, SwapOutlook } from '../ports.js';
import type { Kind } from './kind.js';

/** Probation has no deadline of its own, and a test may hang. */
const SELF_TEST_DEADLINE_MS = 15 * 60_000;

export const modelKind: Kind<'model'> = {
  unable: () => undefined,
  base: (committed) => committed,
  isOver: () => false,

  files(manifest, { hardwareClass }) {
    const { model } = variantFor(manifest, hardwareClass);
    const files = [model, manifest.goldenVectors, ...manifest.assets.map(({ file }) => file)];
    return manifest.referenceProfile ? [...files, manifest.referenceProfile] : files;
  },

  installed({ model, release, manifest, directory }, { hardwareClass }) {
    const variant = variantFor(manifest, hardwareClass);
    const { path, digest: loaded } = variant.model;
    return { model, release, manifest, variant, modelFile: `${directory}/${path}`, loaded, directory };
  },

  async verify({ manifest }, { hardwareClass }, { store, signal }) {
    const { model } = variantFor(manifest as InstalledModel['manifest'], hardwareClass);
    await refuseForeignFiles(store.blobFile(model.digest), signal);
    return '';
  },

  stage: () => Promise.resolve('the release folder is complete'),

  async selfTest(candidate, { serving, signal }) {
    const result = await serving.selfTest(candidate, signal);
    if ('said' in result) return result.said;
    const { provider, latencyUs, swap } = result;
    return `${inWords(result)} on ${provider.actual}, ${latencyUs} µs${swap ? memoryPlan(swap) : ''}`;
  },

  activate: (candidate, { serving, signal }) => activateModel(serving, candidate, signal, 'keep'),

  watch: (candidate, { deployment, serving, signal }) => ({
    probation: deployment.probation,
    contract: contractFor(candidate.manifest, deployment.hardwareClass),
    health: () => serving.health(candidate.model),
    broken: () => undefined,
    over: () => undefined,
    unfit: () => undefined,
    /**
     * The golden vectors once more, from the disk and beside what serves: what is about to be committed has to be what was tested, after whatever
     * happened since.
     */
    async testAgain() {
      const what = `The self-test of ${candidate.model} ${candidate.release.version} in probation`;
      const result = await withDeadline({ what, deadlineMs: SELF_TEST_DEADLINE_MS, signal }, (bounded) =>
        serving.selfTest(candidate, bounded),
      );
      return `; ${'said' in result ? result.said : inWords(result)}`;
    },
  }),

  commit: () => undefined,
  settled: (name, { serving }) => serving.dropKept(name),
  running: (name, { serving }) => serving.running(name),
  restore: {
    by: 'activating',
    activate: (target, { serving }, signal) => activateModel(serving, target, signal, 'close'),
    // Also what does not run: it may lie ready for an application that will come.
    deactivate: (name, { serving }) => serving.deactivate(name),
  },
};

function memoryPlan({ how, needMiB, availableMiB }: SwapOutlook): string {
  const figures = `${Math.round(needMiB)} MiB of ${Math.round(availableMiB)} available`;
  return how === 'beside' ? `, ${figures}` : `; it needs ${figures}: what serves stops before it is loaded`;
}

/** For the log and the reports. */
function inWords({ worstDifference, agreement }: GoldenCompared): string {
  const decided = agreement && `; by ${agreement.measure} ${agreement.value} of ${agreement.compared} agree`;
  return `golden vectors within ${worstDifference}${decided ?? ''}`;
}

/** Believes only what whoever runs it says has been loaded. @throws UpdateError UPDATE_UNEXPECTED_MODEL, or what serving threw */
async function activateModel(
  serving: Serving,
  target: InstalledModel,
  signal: AbortSignal,
  replaced: Replaced,
): Promise<string> {
  const running = await serving.activate(target, signal, replaced);
  if (!running) return `${target.model} ${target.release.version} lies ready; its application has not loaded it yet`;
  if (running.loaded === target.loaded && running.release.digest === target.release.digest) {
    return `${target.model} ${target.release.version} serves on ${running.provider.actual}`;
  }
  throw new UpdateError(
    'UPDATE_UNEXPECTED_MODEL',
    `Serving has loaded ${running.loaded} of ${running.release.version}; asked for was ${target.loaded} of ${target.release.version}.`,
    { remedy: 'This is a defect in Drover. Report it with the log around this line.' },
  );
}
