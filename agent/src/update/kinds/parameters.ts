import { digestOf } from '@drover/shared/ids';
import { valuesFor } from '@drover/shared/manifest';
import { UpdateError } from '../errors.js';
import type { InstalledParameters } from '../ports.js';
import type { ParametersInForce } from '../parameters/in-force.js';
import { valuesDocument } from '../parameters/values-document.js';
import type { Kind, Runners } from './kind.js';

export const parametersKind: Kind<'parameters'> = {
  unable: ({ parameters }) => (parameters ? undefined : notServed()),
  base: (committed) => committed,
  isOver: () => false,

  files: () => [],

  installed({ model, release, manifest, directory }, { site }) {
    const document = valuesDocument({ line: model, release, site, values: valuesFor(manifest, site) });
    return { model, release, manifest, document, loaded: digestOf(document), directory };
  },

  async verify(release, _device, runners) {
    const manifest = release.manifest as InstalledParameters['manifest'];
    const model = inForce(runners).verifyFits(manifest);
    return Promise.resolve(`; they are for ${model}`);
  },

  stage: () => Promise.resolve('the release folder is complete'),

  selfTest(candidate, runners) {
    const model = inForce(runners).verifyFits(candidate.manifest);
    return Promise.resolve(
      `${Object.keys(candidate.manifest.parameters).length} values are within their bounds, for ${model}`,
    );
  },

  async activate(candidate, context) {
    const parameters = inForce(context);
    parameters.verifyFits(candidate.manifest);
    const reason = await parameters.put(candidate, context.signal);
    parameters.verifyFits(candidate.manifest);
    return reason;
  },

  watch: (candidate, context) => inForce(context).watch(candidate, context.deployment.probation),

  commit: () => undefined,
  settled: () => Promise.resolve(),
  running: (name, { parameters }) => parameters?.running(name),
  restore: {
    by: 'activating',
    activate: (target, runners, signal) => inForce(runners).put(target, signal),
    deactivate: async (name, { parameters }) => parameters?.remove(name),
  },
};

function inForce({ parameters }: Runners): ParametersInForce {
  if (!parameters) throw notServed();
  return parameters;
}

const notServed = () =>
  new UpdateError('PARAMETERS_NOT_SERVED', 'Nothing on this device gives parameters to applications.', {
    remedy: 'Take the device out of the selector, or run its models with the inference process of the agent.',
  });
