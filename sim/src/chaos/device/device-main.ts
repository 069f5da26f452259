import { readFileSync, writeSync } from 'node:fs';
import { bundleSources } from '../writes/code-site.js';
import { interposeWrites, type WritePoint } from '../writes/interposition.js';
import type { LifeOptions } from './life.js';
import { killPointOf, momentOf, type LifeEvent, type LifePlan } from './plan.js';

/** The parent reads here; stdout and stderr are left to whatever complains. */
const EVENTS = 3;
const [planFile = '', bundle = ''] = process.argv.slice(2);
const { device, steps, kill } = JSON.parse(readFileSync(planFile, 'utf8')) as LifePlan;
// Taken before the functions are interposed.
const write = writeSync;
const emit = (event: LifeEvent): void => {
  const bytes = Buffer.from(`${JSON.stringify(event)}\n`);
  for (let offset = 0; offset < bytes.length;) offset += write(EVENTS, bytes, offset);
};

Error.stackTraceLimit = 20;
const moments: Record<string, number> = {};
const reached = new Set(kill?.at === 'unreached' ? kill.reached : []);
const skipped = new Set<string>();
let step = 0;
let occurrences = 0;
let stateOf = (): string => 'starting';

function isTime(phase: string, moment: string): boolean {
  if (!kill || step < kill.fromStep) return false;
  if (kill.at === 'unreached') {
    const point = killPointOf(moment);
    if (reached.has(point) || skipped.has(point)) return false;
    // The first few are passed over, so that devices that run side by side do not all die at the same one.
    if (skipped.size < kill.skip) skipped.add(point);
    else if (kill.phase === phase) return true;
    return false;
  }
  if (kill.at === 'moment' && kill.moment !== moment) return false;
  occurrences += 1;
  return occurrences === kill.occurrence;
}

function onWrite({ site, phase }: WritePoint): void {
  const role = step === 0 ? 'restart' : (steps[step - 1]?.role ?? 'end');
  const moment = momentOf(phase, site, stateOf(), role);
  moments[moment] = (moments[moment] ?? 0) + 1;
  if (!isTime(phase, moment)) return;
  emit({ event: 'passed', moments });
  emit({ event: 'killed', moment });
  // A signal that cannot be caught: no handler, no flush, no unwinding. It is delivered before kill() returns.
  process.kill(process.pid, 'SIGKILL');
}

const sources = bundleSources(bundle, readFileSync(bundle, 'utf8'));
await interposeWrites(import.meta.resolve('@drover/agent/database'), onWrite, sources);
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
emit({ event: 'passed', moments });
emit({ event: 'ended' });
process.exit(0);
