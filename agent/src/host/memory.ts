import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { systemCode } from './errors.js';

/** On x86-64 and on 64-bit ARM boards; a kernel with larger pages makes the figure too small, never too large. */
const PAGE_BYTES = 4096;
const MIB = 1024 ** 2;

/** The second number of statm counts resident pages (proc_pid_statm(5)); undefined on systems without it, and when the process is gone. */
export function residentMiB(pid: number | undefined): number | undefined {
  try {
    const pages = Number(readFileSync(`/proc/${pid ?? 0}/statm`, 'utf8').split(' ')[1]);
    return Number.isSafeInteger(pages) ? (pages * PAGE_BYTES) / MIB : undefined;
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ESRCH') return undefined;
    throw error;
  }
}

/** Of the device, or of the control group where that allows less. */
export function totalMemoryMiB(): number {
  const allowed = process.constrainedMemory();
  return Math.min(totalmem(), allowed > 0 ? allowed : Infinity) / MIB;
}

/** What may still be taken, by the device and by the control group. */
export const availableMemoryMiB = (): number => process.availableMemory() / MIB;
