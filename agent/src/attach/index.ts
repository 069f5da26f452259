// The supervisor's side. What reads the messages of applications is in a process of its own (./observe).
export { AttachedServing, type AttachedServingOptions } from './attached-serving.js';
export { ATTACH_CODES, AttachError, type AttachCode } from './errors.js';
