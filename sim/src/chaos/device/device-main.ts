import { readFileSync, writeSync } from 'node:fs';
import { interposeWrites } from '../writes/interposition.js';
import type { LifeEvent, LifePlan } from './plan.js';

/** The parent reads here; stdout and stderr are left to whatever complains. */
const EVENTS = 3;
const [planFile = ''] = process.argv.slice(2);
const plan = JSON.parse(readFileSync(planFile, 'utf8')) as LifePlan;
// Taken before the functions are interposed.
const write = writeSync;
const emit = (event: LifeEvent): void => {
  const bytes = Buffer.from(`${JSON.stringify(event)}\n`);
  for (let offset = 0; offset < bytes.length;) offset += write(EVENTS, bytes, offset);
};

Error.stackTraceLimit = 20;
const passed: Record<string, number> = {};
let step = 0;
let occurrences = 0;
let stateOf = (): string => 'starting';

await interposeWrites(import.meta.resolve('@drover/agent/database'), ({ site, phase }) => {
  const role = step === 0 ? 'restart' : (plan.steps[step - 1]?.role ?? 'end');
  const point = `${phase} ${site} | ${stateOf()} | ${role}`;
  passed[point] = (passed[point] ?? 0) + 1;
  const { kill } = plan;
  if (!kill || (kill.point !== undefined && kill.point !== point)) return;
  occurrences += 1;
  if (occurrences < kill.occurrence) return;
  emit({ event: 'points', passed });
  emit({ event: 'killed', point });
  // A signal that cannot be caught: no handler, no flush, no unwinding. It is delivered before kill() returns.
  process.kill(process.pid, 'SIGKILL');
});

const { live } = await import('./life.js');
await live({
  device: plan.device,
  steps: plan.steps,
  emit,
  onStep: (index) => (step = index),
  onUpdater: (state) => (stateOf = state),
});
emit({ event: 'points', passed });
emit({ event: 'ended' });
process.exit(0);
