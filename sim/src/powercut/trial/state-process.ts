import { fork, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LifeEvent, LifePlan } from '../../chaos/device/plan.js';
import type { LifeRecord } from '../../chaos/device/run-life.js';

const MAIN = join(
  fileURLToPath(import.meta.resolve('@drover/sim/package.json')),
  '..',
  'dist/powercut/trial/state-main.js',
);
const TIMEOUT_MS = 60_000;
/** A fresh process now and then: what one life leaves behind must not help the next one. */
const LIVES_PER_PROCESS = 150;

export type StateMessage =
  { readonly kind: 'event'; readonly event: LifeEvent } | { readonly kind: 'failed'; readonly error: string };

/** A process that starts the agent's parts on one disk after another. */
export class StateProcess {
  #child: ChildProcess | undefined;
  #lives = 0;

  async live(plan: LifePlan): Promise<LifeRecord> {
    if (this.#lives >= LIVES_PER_PROCESS) this.close();
    const child = (this.#child ??= fork(MAIN, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] }));
    this.#lives += 1;
    const events: LifeEvent[] = [];
    return new Promise((resolve) => {
      const end = (ending: LifeRecord['ending'], complaints: string): void => {
        clearTimeout(timer);
        child.off('message', take);
        child.off('exit', died);
        if (ending === 'died') this.close();
        resolve({ events, ending, complaints });
      };
      const take = (message: StateMessage): void => {
        if (message.kind === 'failed') end('died', message.error);
        else if (message.event.event === 'ended') end('ended', '');
        else events.push(message.event);
      };
      const died = (): void => end('died', 'The process is gone.');
      const timer = setTimeout(() => end('died', 'It hung for longer than its time.'), TIMEOUT_MS);
      child.on('message', take);
      child.on('exit', died);
      child.send(plan);
    });
  }

  close(): void {
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
    this.#lives = 0;
  }
}
