import type { LedgerViolation } from './ledger.js';

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

const numberOf = ({ epoch, counter }: ReceivedOrder): string => `${epoch}.${counter}`;
const isNewer = (left: ReceivedOrder, right: ReceivedOrder): boolean =>
  left.epoch > right.epoch || (left.epoch === right.epoch && left.counter > right.counter);

/** All orders that devices received: each may come twice, but never as another one, and none behind one that was carried out. */
export class OrderBook {
  readonly #orders = new Map<string, ReceivedOrder>();
  readonly #newest = new Map<string, ReceivedOrder>();

  /** `isNew`: the device has not carried it out yet. */
  take(order: ReceivedOrder): { readonly isNew: boolean; readonly violations: readonly LedgerViolation[] } {
    const violations: LedgerViolation[] = [];
    const { device, model, deploymentId, rolloutId, isRevert } = order;
    const number = numberOf(order);
    const clash = (key: string, what: string): void => {
      const known = this.#orders.get(key) ?? order;
      this.#orders.set(key, known);
      if (known.deploymentId !== deploymentId || numberOf(known) !== number)
        violations.push({ kind: 'repeated', what });
    };
    clash(`number ${device} ${model} ${number}`, `two orders for ${device} have the number ${number}`);
    clash(`deployment ${deploymentId}`, `the order ${deploymentId} has two numbers, ${number} is one`);
    if (rolloutId !== undefined)
      clash(`rollout ${device} ${rolloutId} ${isRevert}`, `${device} was ordered twice by one rollout, ${number}`);
    const newest = this.#newest.get(`${device} ${model}`);
    const isNew = !newest || isNewer(order, newest);
    if (isNew) this.#newest.set(`${device} ${model}`, order);
    else if (newest.deploymentId !== deploymentId)
      violations.push({
        kind: 'broken',
        what: `${device} has carried out ${numberOf(newest)} and is ordered ${number}`,
      });
    return { isNew, violations };
  }
}
