import { isCarriedOut, rolloutProblem, type RolloutState, type Steered } from './steering.js';

/** What commands leave behind, by kind; each thing has a name of its own. */
export type Kind =
  'token' | 'blob' | 'root' | 'release' | 'rollout' | 'device' | 'online key' | 'report' | 'audit entry';

/** What one command leaves behind. */
export interface Thing {
  readonly kind: Kind;
  readonly name: string;
  /** In the audit log, written in the same transaction as the thing. */
  readonly entries?: readonly string[];
}

/**
 * `lost`: acknowledged and not there. `repeated`: there more often than it was asked for, or without having been asked for. `broken`: what is there
 * contradicts itself.
 */
export interface LedgerViolation {
  readonly kind: 'lost' | 'repeated' | 'broken';
  readonly what: string;
}

/** All that is there now; a name that stands twice is there twice. Each kind is complete, but for blobs: those that were asked for. */
export interface Observation {
  readonly things: ReadonlyMap<Kind, readonly string[]>;
  readonly rolloutStates: ReadonlyMap<string, RolloutState>;
  readonly isAuditIntact: boolean;
}

/** `either`: asked for without an answer. What the next life shows stays so. */
type Standing = 'there' | 'either' | 'gone';
interface Pending extends Thing {
  readonly leaves: 'there' | 'gone';
}
type Found = (kind: LedgerViolation['kind'], what: string) => void;

/** What was commanded and what was acknowledged, against what a control plane has after it was killed. */
export class Ledger {
  readonly #standings = new Map<Kind, Map<string, Standing>>();
  readonly #rollouts = new Map<string, Steered>();
  #pending: Pending[] = [];
  #unnamed: { readonly kind: Kind; readonly prefix: string }[] = [];

  give(thing: Thing): void {
    this.#ask({ ...thing, leaves: 'there' });
  }
  acknowledge(thing: Thing): void {
    this.#answer({ ...thing, leaves: 'there' });
  }
  giveRemoval(thing: Thing): void {
    this.#ask({ ...thing, leaves: 'gone' });
  }
  acknowledgeRemoval(thing: Thing): void {
    this.#answer({ ...thing, leaves: 'gone' });
  }
  /** The answer will tell its name, which begins so. Where there is none, one thing that nobody named may be there. */
  giveUnnamed(kind: Kind, prefix = ''): void {
    this.#unnamed.push({ kind, prefix });
  }
  acknowledgeUnnamed(kind: Kind, name: string): void {
    const at = this.#unnamed.findIndex((each) => each.kind === kind && name.startsWith(each.prefix));
    this.#unnamed.splice(at, at < 0 ? 0 : 1);
    this.acknowledge({ kind, name });
  }

  /** `to`: where it leads; of a new rollout, `running`. */
  giveSteering(rollout: string, given: { readonly to: RolloutState; readonly entry: string }): void {
    const { state } = this.#rollouts.get(rollout) ?? {};
    this.#rollouts.set(rollout, { ...(state && { state }), given });
    this.#of('audit entry').set(given.entry, 'either');
  }
  acknowledgeSteering(rollout: string, { to, entry }: { readonly to: RolloutState; readonly entry: string }): void {
    this.#rollouts.set(rollout, { state: to });
    this.#of('audit entry').set(entry, 'there');
  }
  /** It was answered that this cannot be done: it stays as it is. */
  refuseSteering(rollout: string): void {
    const { state, given } = this.#rollouts.get(rollout) ?? {};
    if (state) this.#rollouts.set(rollout, { state });
    if (given) this.#of('audit entry').set(given.entry, 'gone');
  }

  /** Judges what a new life shows. From then on that is what was there, so that nothing is told twice. */
  judge({ things, rolloutStates, isAuditIntact }: Observation): LedgerViolation[] {
    const violations: LedgerViolation[] = [];
    const found: Found = (kind, what) => void violations.push({ kind, what });
    this.#judgePending(things, found);
    this.#judgeRollouts(rolloutStates, things, found);
    for (const [kind, names] of things) this.#judgeKind(kind, names, found);
    this.#unnamed = [];
    if (!isAuditIntact) found('broken', 'the chain of the audit log is broken');
    return violations;
  }

  /** A command and its entries are one transaction, also where nobody got an answer. */
  #judgePending(things: Observation['things'], found: Found): void {
    const has = (kind: Kind, name: string): boolean => things.get(kind)?.includes(name) ?? false;
    for (const { kind, name, entries = [], leaves } of this.#pending) {
      const isDone = has(kind, name) === (leaves === 'there');
      for (const entry of entries)
        if (has('audit entry', entry) !== isDone)
          found(
            'broken',
            `the ${kind} ${name} is ${has(kind, name) ? 'there' : 'gone'}, which does not fit "${entry}"`,
          );
    }
    this.#pending = [];
  }

  /** That a rollout is gone is judged as of any other thing. */
  #judgeRollouts(states: Observation['rolloutStates'], things: Observation['things'], found: Found): void {
    const entries = new Set(things.get('audit entry'));
    for (const [rollout, steered] of [...this.#rollouts]) {
      const state = states.get(rollout);
      if (!state) {
        this.#rollouts.delete(rollout);
        continue;
      }
      this.#rollouts.set(rollout, { state });
      const problem = rolloutProblem(steered, state);
      if (problem !== undefined) found('lost', `the rollout ${rollout} ${problem}`);
      const isDone = isCarriedOut(steered, state);
      if (steered.given && isDone !== undefined && isDone !== entries.has(steered.given.entry))
        found('broken', `the rollout ${rollout} is ${state}, which does not fit "${steered.given.entry}"`);
    }
  }

  #judgeKind(kind: Kind, names: readonly string[], found: Found): void {
    const standings = this.#of(kind);
    const counts = new Map<string, number>();
    for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
    for (const [name, standing] of standings) {
      if (standing === 'there' && !counts.has(name)) found('lost', `the ${kind} ${name} was acknowledged and is gone`);
      if (standing === 'gone' && counts.has(name)) found('lost', `the ${kind} ${name} was gone and is there again`);
      standings.set(name, counts.has(name) ? 'there' : 'gone');
    }
    for (const [name, count] of counts) {
      if (count > 1) found('repeated', `the ${kind} ${name} is there ${count} times`);
      if (standings.has(name)) continue;
      standings.set(name, 'there');
      const at = this.#unnamed.findIndex((each) => each.kind === kind && name.startsWith(each.prefix));
      if (at < 0) found('repeated', `nobody asked for the ${kind} ${name}`);
      else this.#unnamed.splice(at, 1);
    }
  }

  #ask(command: Pending): void {
    this.#pending.push(command);
    const isThere = this.#of(command.kind).get(command.name) === 'there';
    if (!isThere || command.leaves === 'gone') this.#of(command.kind).set(command.name, 'either');
    for (const entry of command.entries ?? []) this.#of('audit entry').set(entry, 'either');
  }

  #answer({ kind, name, entries = [], leaves }: Pending): void {
    this.#pending = this.#pending.filter((each) => each.kind !== kind || each.name !== name || each.leaves !== leaves);
    this.#of(kind).set(name, leaves);
    for (const entry of entries) this.#of('audit entry').set(entry, 'there');
  }

  #of(kind: Kind): Map<string, Standing> {
    const standings = this.#standings.get(kind) ?? new Map<string, Standing>();
    this.#standings.set(kind, standings);
    return standings;
  }
}
