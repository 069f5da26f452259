import type { ReportedModel } from '../telemetry/reported.js';
import type { OrderTable } from './tables.js';

/** What to do about a device that reported, or failed to report, the release that its newest order names. */
export type Reconciliation = 'in-sync' | 'ended' | 'under-way' | 'reissue' | 'send';

/**
 * Compares what is desired with what the device says, signed. Pure.
 * An outcome ends an order: a device that fell back or refused is not pressed again, that is for the rollout to judge.
 * The exceptions are an order that expired on its way (the device was right to refuse it, and nobody meant it to), and a device that lost what
 * it had committed.
 */
export function reconcile(
  order: Pick<
    OrderTable,
    'deployment_id' | 'digest' | 'epoch' | 'counter' | 'expires_at' | 'outcome' | 'outcome_error'
  >,
  reported: ReportedModel | undefined,
  nowMs: number,
): Reconciliation {
  if (order.outcome === 'refused' && expiredOnItsWay(order.outcome_error)) return 'reissue';
  const accepted = reported?.accepted;
  // It ran this once and knows nothing of it any more: its disk was replaced, or wiped. Nobody meant to take the release from it.
  if (order.outcome === 'committed' && !accepted) return 'reissue';
  if (order.outcome !== null) return 'ended';
  const isAccepted = accepted?.epoch === order.epoch && accepted.counter === order.counter;
  if (isAccepted && reported?.running?.release.digest === order.digest) return 'in-sync';
  if (reported?.update.deploymentId === order.deployment_id && reported.update.state !== 'idle') return 'under-way';
  // Accepted, neither under way nor ended: the device lost its journal, and would take the same counter for a replay.
  if (isAccepted) return 'reissue';
  if (
    accepted &&
    (accepted.epoch > order.epoch || (accepted.epoch === order.epoch && accepted.counter > order.counter))
  )
    return 'reissue';
  return order.expires_at <= nowMs ? 'reissue' : 'send';
}

const expiredOnItsWay = (outcomeError: string | null): boolean =>
  outcomeError !== null && (JSON.parse(outcomeError) as { code?: unknown }).code === 'DEPLOYMENT_EXPIRED';
