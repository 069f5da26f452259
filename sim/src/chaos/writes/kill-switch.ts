import { writeSync } from 'node:fs';
import { killPointOf, momentOf, type KillPlan, type LifeEvent } from '../device/plan.js';
import type { WritePoint } from './interposition.js';

/** Where in its life a process is, for the name of the moment. */
export interface LifePlace {
  readonly step: number;
  readonly state: string;
  readonly role: string;
}

export type KillEvent = Extract<LifeEvent, { event: 'passed' | 'killed' }>;

/** Counts the moments of a process and ends it when the time of its plan has come. */
export class KillSwitch {
  readonly moments: Record<string, number> = {};
  readonly #plan: KillPlan | undefined;
  readonly #reached: ReadonlySet<string>;
  readonly #skipped = new Set<string>();
  readonly #place: () => LifePlace;
  readonly #emit: (event: KillEvent) => void;
  #occurrences = 0;
  #otherOccurrences = 0;

  constructor(plan: KillPlan | undefined, place: () => LifePlace, emit: (event: KillEvent) => void) {
    this.#plan = plan;
    this.#reached = new Set(plan?.at === 'unreached' ? plan.reached : []);
    this.#place = place;
    this.#emit = emit;
  }

  readonly onWrite = ({ site, phase }: WritePoint): void => {
    const { step, state, role } = this.#place();
    const moment = momentOf(phase, site, state, role);
    this.moments[moment] = (this.moments[moment] ?? 0) + 1;
    if (!this.#isTime(step, phase, moment)) return;
    this.#emit({ event: 'passed', moments: this.moments });
    this.#emit({ event: 'killed', moment });
    // A signal that cannot be caught: no handler, no flush, no unwinding. It is delivered before kill() returns.
    process.kill(process.pid, 'SIGKILL');
  };

  #isTime(step: number, phase: string, moment: string): boolean {
    const plan = this.#plan;
    if (!plan || step < plan.fromStep) return false;
    if (plan.otherwise && step >= plan.otherwise.fromStep) {
      this.#otherOccurrences += 1;
      return this.#otherOccurrences === plan.otherwise.occurrence;
    }
    if (plan.at === 'unreached') {
      const point = killPointOf(moment);
      if (this.#reached.has(point) || this.#skipped.has(point)) return false;
      // The first few are passed over, so that devices that run side by side do not all die at the same one.
      if (this.#skipped.size < plan.skip) this.#skipped.add(point);
      else return plan.phase === phase;
      return false;
    }
    if (plan.at === 'moment' && plan.moment !== moment) return false;
    this.#occurrences += 1;
    return this.#occurrences === plan.occurrence;
  }
}

/** Writes lines that survive the kill that follows. Make it before the functions are interposed. */
export function lineWriter(descriptor: number): (line: object) => void {
  const write = writeSync;
  return (line) => {
    const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
    for (let offset = 0; offset < bytes.length;) offset += write(descriptor, bytes, offset);
  };
}
