/** What commands leave behind, by kind; each thing has a name of its own. */
export type Kind = 'token' | 'blob' | 'release' | 'rollout' | 'device' | 'online key' | 'report' | 'audit entry';

/** `lost`: acknowledged and not there. `repeated`: there more often than it was given. `broken`: what is there contradicts itself. */
export interface LedgerViolation {
  readonly kind: 'lost' | 'repeated' | 'broken';
  readonly what: string;
}

export type SteeredState = 'running' | 'paused' | 'aborted' | 'reverted';

/** All that is there now; a name that stands twice is there twice. */
export interface Observation {
  readonly things: ReadonlyMap<Kind, readonly string[]>;
  readonly rolloutStates: ReadonlyMap<string, string>;
  readonly isAuditIntact: boolean;
}

/** An order as its device received it. */
export interface ReceivedOrder {
  readonly device: string;
  readonly model: string;
  readonly epoch: number;
  readonly counter: number;
  readonly deploymentId: string;
  readonly rolloutId?: string | undefined;
  readonly isRevert: boolean;
}

/** What a rollout may have come to by itself since it was steered: devices answer, and a stage passes or halts. */
const MAY_BECOME: Readonly<Record<SteeredState, readonly string[]>> = {
  running: ['running', 'halted', 'completed', 'reverting', 'reverted'],
  paused: ['paused', 'halted'],
  aborted: ['aborted'],
  reverted: ['reverting', 'reverted'],
};

/** What was commanded and what was acknowledged, against what a control plane has after it was killed. */
export class Ledger {
  readonly #given = new Map<Kind, Set<string>>();
  readonly #acknowledged = new Map<Kind, Set<string>>();
  readonly #removed = new Map<Kind, Set<string>>();
  readonly #steered = new Map<string, { acknowledged: SteeredState; given: SteeredState }>();
  readonly #orders = new Map<string, ReceivedOrder>();

  give(kind: Kind, name: string): void {
    setOf(this.#given, kind).add(name);
  }
  acknowledge(kind: Kind, name: string): void {
    setOf(this.#acknowledged, kind).add(name);
  }
  /** From now on it may be gone; `acknowledgeRemoval` says that it has to be. */
  giveRemoval(kind: Kind, name: string): void {
    setOf(this.#acknowledged, kind).delete(name);
  }
  acknowledgeRemoval(kind: Kind, name: string): void {
    setOf(this.#removed, kind).add(name);
  }
  giveSteering(rollout: string, given: SteeredState): void {
    const { acknowledged = 'running' } = this.#steered.get(rollout) ?? {};
    this.#steered.set(rollout, { acknowledged, given });
  }
  acknowledgeSteering(rollout: string, acknowledged: SteeredState): void {
    this.#steered.set(rollout, { acknowledged, given: acknowledged });
  }

  /** An order that came: also twice, but never as another one. */
  takeOrder(order: ReceivedOrder): LedgerViolation[] {
    const violations: LedgerViolation[] = [];
    const { device, model, epoch, counter, deploymentId, rolloutId, isRevert } = order;
    const clash = (key: string, what: string): void => {
      const known = this.#orders.get(key);
      if (known && known.deploymentId !== deploymentId) violations.push({ kind: 'repeated', what });
      this.#orders.set(key, known ?? order);
    };
    clash(`${device} ${model} ${epoch}.${counter}`, `two orders for ${device} have the number ${epoch}.${counter}`);
    if (rolloutId !== undefined)
      clash(`${device} ${rolloutId} ${isRevert}`, `${device} was ordered twice by one rollout, ${epoch}.${counter}`);
    return violations;
  }

  judge({ things, rolloutStates, isAuditIntact }: Observation): LedgerViolation[] {
    const violations: LedgerViolation[] = [];
    const found = (kind: LedgerViolation['kind'], what: string): void => void violations.push({ kind, what });
    for (const [kind, names] of things) {
      const counts = new Map<string, number>();
      for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
      for (const name of setOf(this.#acknowledged, kind))
        if (!counts.has(name)) found('lost', `the ${kind} ${name} was acknowledged and is gone`);
      for (const name of setOf(this.#removed, kind))
        if (counts.has(name)) found('lost', `the ${kind} ${name} was removed and is there again`);
      for (const name of setOf(this.#given, kind))
        if ((counts.get(name) ?? 0) > 1) found('repeated', `the ${kind} ${name} is there ${counts.get(name)} times`);
    }
    for (const [rollout, { acknowledged, given }] of this.#steered) {
      const state = rolloutStates.get(rollout);
      if (state === undefined || (!MAY_BECOME[acknowledged].includes(state) && !MAY_BECOME[given].includes(state)))
        found(
          'lost',
          `the rollout ${rollout} was ${acknowledged}, then perhaps ${given}; now it is ${state ?? 'gone'}`,
        );
      else this.#steered.set(rollout, settled(acknowledged, given, state));
    }
    if (!isAuditIntact) found('broken', 'the chain of the audit log is broken');
    return violations;
  }
}

/** Whether a command without an answer was carried out shows in the next life, and stays so. */
function settled(acknowledged: SteeredState, given: SteeredState, state: string) {
  const isDone = acknowledged !== given && state === given;
  return isDone ? { acknowledged: given, given } : { acknowledged, given };
}

function setOf(sets: Map<Kind, Set<string>>, kind: Kind): Set<string> {
  const set = sets.get(kind) ?? new Set();
  sets.set(kind, set);
  return set;
}
