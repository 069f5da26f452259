export { ALIVE_INTERVAL_MS, FILE_LIST, SLOT_VARIABLE, STATE_VARIABLE, type LauncherMessage } from './contract.js';
export { LAUNCHER_CODES, LauncherError } from './errors.js';
export { currentSlots } from './launch.js';
export { parseFileList, slotDamage } from './slot-files.js';
export {
  deliveredVersions,
  isSlotName,
  isSlotOf,
  readSlots,
  slotName,
  writeSlots,
  type Candidate,
  type SlotFailure,
  type SlotName,
  type Slots,
} from './slots.js';
export { nextStep, type LauncherEvent } from './transitions.js';
