import { releaseLineOf, variantFor, type Manifest } from '@drover/shared/manifest';
import type { Deployment, Probation, TrialTerms } from '@drover/shared/protocol';
import { UpdateError } from '../errors.js';
import type { InstalledTrial, ServingHealth, TrialServing } from '../ports.js';
import { unfitForTrial, type Triable } from '../trials/fits.js';
import type { Kind, Runners } from './kind.js';
import { modelKind } from './model.js';

/** A trial stays in `probation` for its whole time: it is over when the terms say so, and given up when it is lost. */
export const trialKind: Kind<'trial'> = {
  unable: ({ trials }) => (trials ? undefined : notServed()),
  base: () => undefined,
  isOver: (order, nowMs) => termsOf(order).until <= nowMs,

  files: (manifest, device) => modelKind.files(manifest, device),

  installed({ model: name, ...installable }, device) {
    const candidate = modelKind.installed({ ...installable, model: releaseLineOf(name) }, device);
    const { release, manifest, loaded, directory } = candidate;
    return { model: name, candidate, release, manifest, loaded, directory };
  },

  async verify(release, device, context) {
    await modelKind.verify(release, device, context);
    const manifest = release.manifest as Manifest;
    const variant = variantFor(manifest, device.hardwareClass);
    return `; it can be tried beside ${verifyFits({ ...release, model: manifest.model, manifest, variant }, context)}`;
  },

  stage: () => Promise.resolve('the release folder is complete'),
  selfTest: ({ candidate }, context) => modelKind.selfTest(candidate, context),

  async activate({ candidate }, context) {
    const { deployment, nowMs, signal } = context;
    const terms = termsOf(deployment);
    // After a restart.
    if (terms.until <= nowMs()) return 'its time is over';
    const active = verifyFits(candidate, context);
    const { loaded, release, provider } = await trialsOf(context).startTrial({ candidate, terms }, signal);
    if (loaded === candidate.loaded && release.digest === candidate.release.digest)
      return `${candidate.model} ${release.version} is tried on ${provider.actual} beside ${active}`;
    throw new UpdateError(
      'UPDATE_UNEXPECTED_MODEL',
      `On trial is ${loaded} of ${release.version}; asked for was ${candidate.loaded} of ${candidate.release.version}.`,
      { remedy: 'This is a defect in Drover. Report it with the log around this line.' },
    );
  },

  watch(candidate, context) {
    const { until } = termsOf(context.deployment);
    // The wall clock may stand still at the time floor, and may be set.
    const remainingMs = until - context.nowMs();
    return {
      probation: NEVER_DECIDED,
      contract: undefined,
      health: () => NO_REQUESTS,
      broken: () => brokenOff(candidate, trialsOf(context)),
      over: (elapsedMs) =>
        elapsedMs >= remainingMs || until <= context.nowMs() ? 'it has run for its whole time' : undefined,
      unfit: () => undefined,
      testAgain: () => Promise.resolve(''),
    };
  },

  commit: () => undefined,
  settled: () => Promise.resolve(),
  running: (name, { trials }) => trials?.trial(releaseLineOf(name))?.running,
  restore: {
    by: 'ending',
    end: async (name, { trials }) => trials?.endTrial(releaseLineOf(name)),
  },
};

const NEVER_DECIDED: Probation = {
  minMs: Number.MAX_SAFE_INTEGER,
  minRequests: 0,
  maxMs: Number.MAX_SAFE_INTEGER,
  maxFailureShare: 1,
  maxCrashes: Number.MAX_SAFE_INTEGER,
};
const NO_REQUESTS: ServingHealth = { requests: 0, failures: 0, crashes: 0 };

/** Acceptance has seen to it that an order for a trial has some (docs/protocol.md, section 4, step 4). */
function termsOf({ model, trial }: Deployment): TrialTerms {
  if (trial) return trial;
  throw new Error(`The order for ${model} says nothing of a trial.`);
}

function trialsOf({ trials }: Runners): TrialServing {
  if (!trials) throw notServed();
  return trials;
}

/** @returns what serves, in words. @throws UpdateError TRIAL_NOT_POSSIBLE, TRIAL_INCOMPATIBLE, DEPLOYMENT_BELOW_REVERT_FLOOR */
function verifyFits(candidate: Triable, runners: Runners): string {
  const active = trialsOf(runners).active(candidate.model);
  if (!active) {
    throw new UpdateError('TRIAL_NOT_POSSIBLE', `No release of ${candidate.model} serves on this device.`, {
      remedy: 'Roll a release out first; another is tried beside one that serves.',
    });
  }
  const unfit = unfitForTrial(candidate, active);
  if (unfit) throw unfit;
  return active.release.version;
}

/** While nothing of the model serves, for example because its process is being started again, the trial waits. */
function brokenOff({ candidate }: InstalledTrial, trials: TrialServing): UpdateError | undefined {
  const { model, release } = candidate;
  const lost = trials.trial(model)?.lost;
  if (lost) {
    return new UpdateError(
      'TRIAL_CRASHED',
      `The trial of ${model} ${release.version} was given up (${lost.code}: ${lost.what})`,
      { remedy: 'What serves goes on without it. Look at the log of the inference process, and mend the candidate.' },
    );
  }
  const active = trials.active(model);
  return active && unfitForTrial(candidate, active);
}

const notServed = () =>
  new UpdateError('TRIAL_NOT_POSSIBLE', 'Nothing on this device tries a release beside another.', {
    remedy: 'Take the device out of the selector, or run its models with the inference process of the agent.',
  });
