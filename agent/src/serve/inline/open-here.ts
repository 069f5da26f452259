import type { InstalledModel, Trial } from '../../update/ports.js';
import { comparing, DEFAULT_TOLERANCE, type ComparingSession } from '../trials/compared.js';
import type { PlacedModel } from './active-model.js';

/** In this thread. The runtime is loaded when first needed: where all models have threads of their own, the thread of the protocol does without. */
export async function openHere(model: InstalledModel, providers: readonly string[]): Promise<PlacedModel> {
  const { openSession } = await import('../session/session.js');
  return { ...(await openSession(model, { providers })), isInline: true };
}

/** The same of a candidate that is only compared. */
export async function openShadowHere(
  { candidate, terms }: Trial,
  providers: readonly string[],
): Promise<ComparingSession> {
  const { session, provider } = await openHere(candidate, providers);
  const compare = comparing(session, candidate, terms.tolerance ?? DEFAULT_TOLERANCE);
  return { provider, compare, close: () => session.close() };
}
