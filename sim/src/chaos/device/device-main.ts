import { readFileSync } from 'node:fs';
import { bundleSources } from '../writes/code-site.js';
import { interposeWrites } from '../writes/interposition.js';
import { KillSwitch, lineWriter } from '../writes/kill-switch.js';
import type { LifeOptions } from './life.js';
import type { LifeEvent, LifePlan } from './plan.js';

/** The parent reads here; stdout and stderr are left to whatever complains. */
const EVENTS = 3;
const [planFile = '', bundle = ''] = process.argv.slice(2);
const { device, steps, kill } = JSON.parse(readFileSync(planFile, 'utf8')) as LifePlan;
const emit: (event: LifeEvent) => void = lineWriter(EVENTS);

Error.stackTraceLimit = 20;
let step = 0;
let stateOf = (): string => 'starting';
const roleOf = (): string => (step === 0 ? 'restart' : (steps[step - 1]?.role ?? 'end'));
const killSwitch = new KillSwitch(kill, () => ({ step, state: stateOf(), role: roleOf() }), emit);

const sources = bundleSources(bundle, readFileSync(bundle, 'utf8'));
await interposeWrites(import.meta.resolve('@drover/agent/database'), killSwitch.onWrite, sources);
const { live } = (await import(bundle)) as { readonly live: (options: LifeOptions) => Promise<void> };
await live({
  device,
  steps,
  emit,
  onStep: (index) => (step = index),
  onAgent: (stateOfModel) => {
    stateOf = () => {
      const now = steps[step - 1];
      return stateOfModel(now && 'model' in now ? now.model : device.model);
    };
  },
});
emit({ event: 'passed', moments: killSwitch.moments });
emit({ event: 'ended' });
process.exit(0);
