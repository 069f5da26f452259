// What the launcher and every agent that it may ever start say to each other. FROZEN: a launcher is not updated with the agent, so a change here
// must be understood by launchers of any age. Files and messages may grow keys; nothing may change its meaning.

/** Where the agent finds the record of the slots and its own slot; only a launcher sets them. */
export const STATE_VARIABLE = 'DROVER_LAUNCHER_STATE';
export const SLOT_VARIABLE = 'DROVER_LAUNCHER_SLOT';
/** The Node.js that a slot's program shall run on. */
export const NODE_VARIABLE = 'DROVER_NODE';

/** What an agent sends over the channel of its parent: that it serves again what is committed, and from its start on that it is not stuck. */
export type LauncherMessage = 'up' | 'alive';
/** How often an agent says that it is alive. */
export const ALIVE_INTERVAL_MS = 5_000;

/**
 * Started with `/bin/sh`, so that a file system without execute bits does not matter. With `run` it is the agent. With `self-test --nonce TEXT`,
 * by which an older agent asks whether a newer one can run here, it ends with 0 and a line `{"nonce", "version", "summary"}`.
 */
export const PROGRAM = 'bin/drover-agent';
/** Lines `SHA-256 bytes path`, closed by `total N`: every file of a slot. */
export const FILE_LIST = 'FILES';
