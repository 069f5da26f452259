import { openSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import type { KillPlan } from '../device/plan.js';
import { bundleSources } from '../writes/code-site.js';
import { interposeWrites } from '../writes/interposition.js';
import { KillSwitch, lineWriter } from '../writes/kill-switch.js';

/** What a control plane is told about its end, as JSON in the variable CHAOS_PLAN. */
export interface ControlPlanePlan {
  readonly bundle: string;
  readonly eventsFile: string;
  readonly kill?: KillPlan;
  /** Breaks the product on purpose, to see that the judge notices: reports are acknowledged before they are stored. */
  readonly acknowledgesFirst?: boolean;
}

const { bundle, eventsFile, kill, acknowledgesFirst } = JSON.parse(
  process.env['CHAOS_PLAN'] ?? '{}',
) as ControlPlanePlan;
const emit = lineWriter(openSync(eventsFile, 'a'));
let state = 'starting';
const killSwitch = new KillSwitch(kill, () => ({ step: 0, state, role: 'control plane' }), emit);

const writeOut = process.stdout.write.bind(process.stdout);
process.stdout.write = (text: string | Uint8Array, ...rest: never[]): boolean => {
  if (text.toString().includes('"event":"ready"')) state = 'serving';
  return writeOut(text, ...rest);
};
// What is passed by a control plane that is stopped in order counts as well.
process.once('exit', () => emit({ event: 'passed', moments: killSwitch.moments }));

// Queries go through many frames that are not ours.
Error.stackTraceLimit = 60;
const sources = bundleSources(bundle, readFileSync(bundle, 'utf8'));
await interposeWrites(pathToFileURL(bundle).href, killSwitch.onWrite, sources);
if (acknowledgesFirst) acknowledgeFirst();

/** Long enough that a kill comes in between. */
const STORED_LATE_MS = 300;

interface BrokerOptions {
  readonly authorizePublish: (client: unknown, packet: object, done: (error: Error | null) => void) => void;
}

function acknowledgeFirst(): void {
  const { Aedes } = createRequire(bundle)('aedes') as {
    Aedes: { createBroker(options: BrokerOptions): Promise<unknown> };
  };
  const create = Aedes.createBroker.bind(Aedes);
  Aedes.createBroker = ({ authorizePublish, ...options }) =>
    create({
      ...options,
      authorizePublish(client, packet, done) {
        done(null);
        setTimeout(() => authorizePublish(client, packet, () => undefined), STORED_LATE_MS);
      },
    });
}
