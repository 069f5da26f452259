/** No release of Drover is older than this, so a clock before it is wrong: a board without a battery starts at 1970. */
export const BUILD_FLOOR_MS = Date.UTC(2025, 0, 1);

/** `behind`: the wall clock reads a time that has certainly passed. */
export type ClockState = 'plausible' | 'behind';

/** Clocks of signer and device differ; a lag up to this much is no fault. */
const TOLERATED_LAG_MS = 24 * 3_600_000;

/** `floorMs`: the latest time that a signed order vouched for. */
export const clockState = (nowMs: number, floorMs: number): ClockState =>
  nowMs + TOLERATED_LAG_MS < Math.max(floorMs, BUILD_FLOOR_MS) ? 'behind' : 'plausible';

/**
 * The time to judge expiry by. Only signed statements raise the floor, never the wall clock itself: one jump to 2099 would otherwise make
 * every later order look expired for good.
 */
export const timeToJudgeBy = (nowMs: number, floorMs: number): number => Math.max(nowMs, floorMs);
