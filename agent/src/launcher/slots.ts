import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemCode } from '../host/errors.js';
import { writeDurablySync } from '../host/durable-file.js';

/** Folder name of an installed version: `VERSION-` and the first twelve hexadecimal digits of its bundle's SHA-256. */
export type SlotName = string & { readonly brand: 'SlotName' };

const SLOT_PATTERN = /^\d{1,9}\.\d{1,9}\.\d{1,9}[0-9A-Za-z.+-]{0,48}-[0-9a-f]{12}$/;
export const isSlotName = (value: unknown): value is SlotName => typeof value === 'string' && SLOT_PATTERN.test(value);

const nameOf = (version: string, bundleSha256: string): string => `${version}-${bundleSha256.slice(0, 12)}`;
export const isSlotOf = (slot: SlotName, version: string, bundleSha256: string): boolean =>
  slot === nameOf(version, bundleSha256);

/** @throws Error on anything that is no slot name */
export function slotName(version: string, bundleSha256: string): SlotName {
  const name = nameOf(version, bundleSha256);
  if (isSlotName(name)) return name;
  throw new Error(`"${name}" is no name of a slot.`);
}

export const FAILURE_CAUSES = [
  'damaged',
  'not-started',
  'exited',
  'not-up',
  'silent',
  'overdue',
  'interrupted',
  'given-up',
  'record-lost',
] as const;
/** Why a slot was left. `given-up`: the candidate itself found that it is not fit. */
export type FailureCause = (typeof FAILURE_CAUSES)[number];

export interface SlotFailure {
  readonly slot: SlotName;
  readonly cause: FailureCause;
  readonly detail: string;
  readonly atMs: number;
}

export interface Candidate {
  readonly slot: SlotName;
  /** Starts that were begun and have not ended in order. Zero: not tried yet. */
  readonly attempts: number;
  /** Time from a start to the commit, after which it counts as failed. */
  readonly commitWithinMs: number;
}

/**
 * Which version of the agent runs, and which one shall be tried. While an agent runs it alone writes this, while none runs the launcher alone;
 * keys that a later version added stay as they are.
 */
export interface Slots {
  readonly format: 'drover.slots/1';
  /** What the installer had put in place when this was written; another one there was put there since, by an operator, and wins. */
  readonly factory?: SlotName;
  readonly committed: SlotName;
  /** Committed before that; kept to fall back to. */
  readonly previous?: SlotName;
  readonly candidate?: Candidate;
  /** The committed version did not come up at its last start: its files are read before the next one. */
  readonly suspect?: true;
  /** Why the last failed slot was left: how the agent that runs then learns it. */
  readonly lastFailure?: SlotFailure;
}

export const slotsFile = (stateDir: string): string => join(stateDir, 'slots.json');
/** Slots that were delivered; the installer's own lie where the agent cannot write. */
export const deliveredVersions = (stateDir: string): string => join(stateDir, 'versions');

/** undefined: there is none. `damaged`: it cannot be believed. @throws what the file system throws */
export function readSlots(stateDir: string): Slots | 'damaged' | undefined {
  let text: string;
  try {
    text = readFileSync(slotsFile(stateDir), 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const json: unknown = JSON.parse(text);
    return isSlots(json) ? json : 'damaged';
  } catch (error) {
    if (error instanceof SyntaxError) return 'damaged';
    throw error;
  }
}

/** Durable and atomic. @throws HostError HOST_DISK_FULL, HOST_FILE_UNWRITABLE */
export const writeSlots = (stateDir: string, slots: Slots): void =>
  writeDurablySync(slotsFile(stateDir), `${JSON.stringify(slots)}\n`);

/** By hand: the launcher carries no schema library. */
function isSlots(json: unknown): json is Slots {
  if (!isRecord(json) || json['format'] !== 'drover.slots/1' || !isSlotName(json['committed'])) return false;
  const { factory, previous, candidate, lastFailure } = json;
  if (![factory, previous].every((slot) => slot === undefined || isSlotName(slot))) return false;
  return (candidate === undefined || isCandidate(candidate)) && (lastFailure === undefined || isFailure(lastFailure));
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;

const isCandidate = (value: unknown): value is Candidate =>
  isRecord(value) && isSlotName(value['slot']) && isCount(value['attempts']) && isCount(value['commitWithinMs']);

const isFailure = (value: unknown): value is SlotFailure =>
  isRecord(value) &&
  isSlotName(value['slot']) &&
  typeof value['cause'] === 'string' &&
  typeof value['detail'] === 'string';
