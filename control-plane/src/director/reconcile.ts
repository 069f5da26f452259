import type { ReportedModel } from '../telemetry/reported.js';
import type { OrderTable } from './tables.js';

/** What to do about a device that reported, or failed to report, the release that its newest order names. */
export type Reconciliation = 'in-sync' | 'ended' | 'under-way' | 'reissue' | 'send' | 'history-lost';

/**
 * Compares what is desired with what the device says, signed. Pure.
 * An outcome ends an order: a device that fell back or refused is not pressed again, that is for the rollout to judge.
 * The exceptions are an order that expired on its way (the device was right to refuse it, and nobody meant it to), and a device that lost what
 * it had committed.
 *
 * A device that accepted a higher number than any that is known here got orders in a time that this database has lost. Nothing is pressed on it:
 * what it runs was meant. Within a new epoch (docs/protocol.md, section 11) that is settled; without one somebody has to hear of it.
 */
export function reconcile(
  order: Pick<
    OrderTable,
    'deployment_id' | 'digest' | 'epoch' | 'counter' | 'expires_at' | 'outcome' | 'outcome_error'
  >,
  reported: ReportedModel | undefined,
  { nowMs, epoch }: { readonly nowMs: number; readonly epoch: number },
): Reconciliation {
  const accepted = reported?.accepted;
  const wasExpired = order.outcome === 'refused' && expiredOnItsWay(order.outcome_error);
  if (accepted && (order.outcome === null || wasExpired) && isAbove(accepted, order))
    return order.epoch < epoch ? 'ended' : 'history-lost';
  if (wasExpired) return 'reissue';
  // It ran this once and knows nothing of it any more: its disk was replaced, or wiped. Nobody meant to take the release from it.
  if (order.outcome === 'committed' && !accepted) return 'reissue';
  if (order.outcome !== null) return 'ended';
  const isAccepted = accepted?.epoch === order.epoch && accepted.counter === order.counter;
  if (isAccepted && reported?.running?.release.digest === order.digest) return 'in-sync';
  if (reported?.update.deploymentId === order.deployment_id && reported.update.state !== 'idle') return 'under-way';
  // Accepted, neither under way nor ended: the device lost its journal, and would take the same counter for a replay.
  if (isAccepted) return 'reissue';
  if (order.epoch < epoch) return 'reissue';
  return order.expires_at <= nowMs ? 'reissue' : 'send';
}

interface OrderNumber {
  readonly epoch: number;
  readonly counter: number;
}

const isAbove = (left: OrderNumber, right: OrderNumber): boolean =>
  left.epoch > right.epoch || (left.epoch === right.epoch && left.counter > right.counter);

const expiredOnItsWay = (outcomeError: string | null): boolean =>
  outcomeError !== null && (JSON.parse(outcomeError) as { code?: unknown }).code === 'DEPLOYMENT_EXPIRED';
