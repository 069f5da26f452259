/** As the API names them. */
export type RolloutState = 'running' | 'paused' | 'halted' | 'reverting' | 'reverted' | 'aborted' | 'completed';

/** What a rollout comes to by itself: devices answer, a stage passes, or its gate halts it. None of the trial reverts by itself. */
const COMES_TO: Readonly<Record<RolloutState, readonly RolloutState[]>> = {
  running: ['running', 'halted', 'completed'],
  paused: ['paused', 'halted'],
  halted: ['halted'],
  reverting: ['reverting', 'reverted'],
  reverted: ['reverted'],
  aborted: ['aborted'],
  completed: ['completed'],
};

export const isActive = (state: RolloutState): boolean =>
  state === 'running' || state === 'paused' || state === 'halted' || state === 'reverting';

/** `state`: acknowledged or seen last. `given`: where a command without an answer leads. */
export interface Steered {
  readonly state?: RolloutState;
  readonly given?: { readonly to: RolloutState; readonly entry: string };
}

/** What is wrong with the state of a rollout now, in words. */
export function rolloutProblem({ state, given }: Steered, now: RolloutState): string | undefined {
  const may = [state, given?.to].flatMap((from) => (from ? COMES_TO[from] : []));
  if (may.includes(now)) return undefined;
  return `was ${state ?? 'not there'}, then perhaps ${given?.to ?? 'nothing'}; now it is ${now}`;
}

/** Whether a command without an answer was carried out; undefined where the state does not tell. */
export function isCarriedOut({ state, given }: Steered, now: RolloutState): boolean | undefined {
  const without = state !== undefined && COMES_TO[state].includes(now);
  const after = given !== undefined && COMES_TO[given.to].includes(now);
  return without === after ? undefined : after;
}
