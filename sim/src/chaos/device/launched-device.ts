import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import {
  currentSlots,
  deliveredVersions,
  nextStep,
  readSlots,
  slotDamage,
  writeSlots,
  type LauncherEvent,
  type SlotName,
} from '@drover/agent/launcher';

/** The agent that the installer put there. Its files are not looked at: they are not written by an update. */
const FACTORY = '1.0.0-0123456789ab' as SlotName;

/** Where the launcher keeps its record, and agents the versions that were delivered. */
export const launcherFolder = (dataDir: string): string => join(dataDir, 'launcher');

/** What an installer leaves, beside the data folder: before the first life of a device. */
export function installAgent(dataDir: string): void {
  mkdirSync(versionsFolder(dataDir));
  symlinkSync(FACTORY, join(versionsFolder(dataDir), 'factory'));
}
const versionsFolder = (dataDir: string): string => `${dataDir}.versions`;

/**
 * The launcher's own decisions (agent/src/launcher/transitions.ts), carried out within one process: it says which agent is to start, records it, and
 * is told how it ended. The agents of all versions are the one under trial.
 */
export class TrialLauncher {
  readonly #dataDir: string;
  readonly #damaged = new Set<SlotName>();
  #event: LauncherEvent = { kind: 'launched' };

  constructor(dataDir: string) {
    this.#dataDir = dataDir;
  }

  /** The slot to start, on the disk as the one that was tried. */
  next(): SlotName {
    const stateDir = launcherFolder(this.#dataDir);
    for (;;) {
      const nowMs = Date.now();
      const slots = currentSlots({ versionsDir: versionsFolder(this.#dataDir), stateDir }, nowMs);
      const step = nextStep({ slots, event: this.#event, damaged: this.#damaged, nowMs });
      if (JSON.stringify(readSlots(stateDir)) !== JSON.stringify(step.record)) {
        mkdirSync(stateDir, { recursive: true });
        writeSlots(stateDir, step.record);
      }
      this.#event = { kind: 'launched' };
      // systemd starts the launcher again.
      if (step.kind === 'leave') continue;
      const { slot, check } = step;
      const damage = slot === FACTORY ? undefined : slotDamage(join(deliveredVersions(stateDir), slot), check);
      if (damage === undefined) return slot;
      this.#damaged.add(slot);
      this.#event = { kind: 'unusable', slot, detail: damage };
    }
  }

  /** The agent made room for another one. */
  ended(slot: SlotName): void {
    this.#event = { kind: 'ended', slot, wasUp: true, cause: 'exited', detail: 'it made room', status: 0 };
  }
}

export const versionOf = (slot: SlotName): string => slot.slice(0, slot.lastIndexOf('-'));
