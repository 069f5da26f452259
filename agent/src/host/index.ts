export { systemClock, type Clock } from './clock.js';
export { BUILD_FLOOR_MS, clockState, timeToJudgeBy, type ClockState } from './time-floor.js';
export {
  makeDirectoryDurably,
  removeTemporaries,
  syncDirectory,
  syncFile,
  writeDurably,
  writeDurablySync,
} from './durable-file.js';
export { digestOfFile } from './file-digest.js';
export { HOST_CODES, HostError, systemCode, toWriteError } from './errors.js';
export { backoffMs, type BackoffBounds } from './backoff.js';
export { raceAbort } from './race-abort.js';
export { createHostProbe, diskFreeBytes, type HostProbe } from './metrics.js';
