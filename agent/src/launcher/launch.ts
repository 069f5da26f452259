import { existsSync, mkdirSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { toCodedErrorJson } from '@drover/shared/coded-error';
import { systemCode } from '../host/errors.js';
import { runAgent, type Bounds } from './agent-child.js';
import { LauncherError } from './errors.js';
import { deliveredVersions, isSlotName, readSlots, writeSlots, type SlotName, type Slots } from './slots.js';
import { slotDamage } from './slot-files.js';
import { nextStep, type LauncherEvent, type LauncherStep } from './transitions.js';

export interface LauncherOptions {
  /** Absolute; the installer's versions, and `factory`, a link to the one in use. Read-only to the agent. */
  readonly versionsDir: string;
  /** Absolute; slots.json and the delivered versions. Written by the agent's user. */
  readonly stateDir: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly bounds: Bounds;
  readonly stop: AbortSignal;
  readonly log: (event: string, facts: object) => void;
  /** Called while systemd has to be told that a change of versions is under way. */
  readonly onStarting: () => void;
  readonly onUp: () => void;
}

/** The version that the installer put in place. */
function factorySlot(versionsDir: string): SlotName | undefined {
  try {
    const name = basename(readlinkSync(join(versionsDir, 'factory')));
    return isSlotName(name) ? name : undefined;
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'EINVAL') return undefined;
    throw error;
  }
}

const folderOf = (
  { versionsDir, stateDir }: Pick<LauncherOptions, 'versionsDir' | 'stateDir'>,
  slot: SlotName,
): string => {
  const installed = join(versionsDir, slot);
  return existsSync(installed) ? installed : join(deliveredVersions(stateDir), slot);
};

/** The record as it stands, or what follows from the installation where there is none. @throws LauncherError LAUNCHER_NO_SLOT */
export function currentSlots(
  { versionsDir, stateDir }: Pick<LauncherOptions, 'versionsDir' | 'stateDir'>,
  nowMs: number,
): Slots {
  const factory = factorySlot(versionsDir);
  const read = readSlots(stateDir);
  if (read !== undefined && read !== 'damaged') {
    if (factory === undefined || factory === read.factory) return read;
    // An operator has installed a version by hand since: that is what shall run, and nothing is tried any more.
    const { candidate: _, previous: _older, suspect: _doubt, committed, ...rest } = read;
    return { ...rest, factory, committed: factory, ...(committed === factory ? {} : { previous: committed }) };
  }
  if (factory === undefined) {
    throw new LauncherError('LAUNCHER_NO_SLOT', 'No version of the agent is installed here.', {
      where: versionsDir,
      remedy: 'Run install.sh with a bundle.',
    });
  }
  const fresh: Slots = { format: 'drover.slots/1', factory, committed: factory };
  if (read === undefined) return fresh;
  const detail = 'slots.json was damaged; the installed version runs';
  return { ...fresh, lastFailure: { slot: factory, cause: 'record-lost', detail, atMs: nowMs } };
}

/**
 * Runs the agent of the right slot until it ends for good, and returns the exit status.
 *
 * INVARIANT: what a power cut leaves at any point is a record from which the next launch starts a whole slot.
 */
export async function launch(options: LauncherOptions): Promise<number> {
  const { stateDir, stop, log } = options;
  sweep(stateDir);
  const damaged = new Set<SlotName>();
  let event: LauncherEvent = { kind: 'launched' };
  for (;;) {
    const nowMs = Date.now();
    const step = nextStep({ slots: currentSlots(options, nowMs), event, damaged, nowMs });
    const isWritten = record(options, step);
    if (step.kind === 'leave') {
      log('launcher.leave', { status: step.status, reason: step.reason });
      return step.status;
    }
    // Without a record of the attempt a candidate that takes the device down would be tried for ever.
    if (step.commitWithinMs !== undefined && !isWritten) {
      event = {
        kind: 'ended',
        slot: step.slot,
        wasUp: false,
        cause: 'not-started',
        detail: 'the attempt could not be recorded',
        status: 1,
      };
      continue;
    }
    event = await start(options, step, damaged);
    if (stop.aborted) event = { kind: 'stopped', slot: step.slot, wasUp: event.kind === 'ended' && event.wasUp };
  }
}

async function start(
  options: LauncherOptions,
  { slot, check, commitWithinMs }: Extract<LauncherStep, { kind: 'start' }>,
  damaged: Set<SlotName>,
): Promise<LauncherEvent> {
  const folder = folderOf(options, slot);
  const damage = slotDamage(folder, check);
  if (damage !== undefined) {
    damaged.add(slot);
    options.log('launcher.damaged', { slot, detail: damage });
    return { kind: 'unusable', slot, detail: damage };
  }
  options.log('launcher.start', { slot, ...(commitWithinMs !== undefined && { trial: true }) });
  options.onStarting();
  const isCommitted = (): boolean => currentSlots(options, Date.now()).candidate?.slot !== slot;
  const { stateDir, args, environment, bounds, stop, onUp } = options;
  const trial = commitWithinMs === undefined ? undefined : { commitWithinMs, isCommitted };
  const ending = await runAgent({ slot, folder, stateDir, args, environment, bounds, trial, stop, onUp });
  options.log('launcher.ended', { slot, ...ending });
  return { kind: 'ended', slot, ...ending };
}

/** False where the disk takes nothing: the device must run all the same. */
function record({ stateDir, log }: LauncherOptions, { record: slots }: LauncherStep): boolean {
  try {
    if (JSON.stringify(readSlots(stateDir)) === JSON.stringify(slots)) return true;
    mkdirSync(stateDir, { recursive: true });
    writeSlots(stateDir, slots);
    return true;
  } catch (cause) {
    const error = new LauncherError(
      'LAUNCHER_RECORD_UNWRITABLE',
      `slots.json cannot be written: ${(cause as Error).message}.`,
      {
        where: stateDir,
        remedy:
          'Free space, or give the folder to the user of the service. Until then the committed version runs, and none is tried.',
        cause,
      },
    );
    log('launcher.problem', toCodedErrorJson(error));
    return false;
  }
}

/** What a cut left of a write. */
function sweep(stateDir: string): void {
  if (!existsSync(stateDir)) return;
  for (const name of readdirSync(stateDir))
    if (name.startsWith('slots.json.')) rmSync(join(stateDir, name), { force: true });
}

/** Runs the committed version for one command of the terminal (`doctor`, `enrol`), without watching it. Writes nothing. */
export function committedFolder(options: Pick<LauncherOptions, 'versionsDir' | 'stateDir'>): string {
  try {
    return folderOf(options, currentSlots(options, Date.now()).committed);
  } catch (error) {
    // Only the service's user and root may look into the state folder; whoever else asks gets the installer's version.
    const factory = systemCode(error) === 'EACCES' ? factorySlot(options.versionsDir) : undefined;
    if (factory === undefined) throw error;
    return join(options.versionsDir, factory);
  }
}
