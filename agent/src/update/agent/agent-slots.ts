import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Type, type Static } from 'typebox';
import { digestHex, digestOf, DIGEST_PATTERN, type Digest, type Version } from '@drover/shared/ids';
import { validate } from '@drover/shared/validation';
import { syncDirectory, systemCode, toWriteError, writeDurably } from '../../host/index.js';
import {
  deliveredVersions,
  isSlotName,
  isSlotOf,
  readSlots,
  slotDamage,
  slotName,
  writeSlots,
  type SlotName,
  type Slots,
} from '../../launcher/index.js';
import { UpdateError } from '../errors.js';
import type { InstalledAgent } from '../ports.js';
import { unpackBundle } from './bundle-archive.js';

/** Which release lies in a delivered slot. In the slot, beside the files of the bundle. */
const RELEASE_NAME = '.release.json';
const SlotRelease = Type.Object({
  format: Type.Literal('drover.slot-release/1'),
  version: Type.Unsafe<Version>(Type.String()),
  digest: Type.Unsafe<Digest>(Type.String({ pattern: DIGEST_PATTERN })),
  bundle: Type.Unsafe<Digest>(Type.String({ pattern: DIGEST_PATTERN })),
  /** Of the three together, against damage; older agents wrote none. */
  sum: Type.Optional(Type.Unsafe<Digest>(Type.String({ pattern: DIGEST_PATTERN }))),
});
export type SlotRelease = Static<typeof SlotRelease>;

/** More than ten times what a bundle holds today. */
const MAX_FILES = 20_000;

export const slotOf = ({ release, loaded }: Pick<InstalledAgent, 'release' | 'loaded'>): SlotName =>
  slotName(release.version, digestHex(loaded));

/** The agent's side of the slots: it puts versions there, asks for one, commits the one that runs, and removes what is not needed. */
export class AgentSlots {
  readonly #stateDir: string;

  /** @param stateDir absolute, as the launcher gave it */
  constructor(stateDir: string) {
    this.#stateDir = stateDir;
  }

  folder = (slot: SlotName): string => join(deliveredVersions(this.#stateDir), slot);

  /** @throws UpdateError AGENT_SLOTS_LOST */
  read(): Slots {
    const slots = readSlots(this.#stateDir);
    if (slots !== undefined && slots !== 'damaged') return slots;
    throw new UpdateError('AGENT_SLOTS_LOST', `The launcher's record of the versions is ${slots ?? 'not there'}.`, {
      where: this.#stateDir,
      remedy: 'Restart the agent (systemctl restart drover-agent): the launcher begins a new record.',
    });
  }

  /** Durable and atomic. Only the running agent calls it (see Slots). */
  write(slots: Slots): void {
    writeSlots(this.#stateDir, slots);
  }

  /** The release in a slot; undefined for the installer's own, and where the note is damaged. */
  releaseIn(slot: SlotName): SlotRelease | undefined {
    try {
      const text = readFileSync(join(this.folder(slot), RELEASE_NAME), 'utf8');
      const note = validate(SlotRelease, JSON.parse(text), () => new SyntaxError('not a note of a release'));
      const { version, bundle, sum } = note;
      const isWhole = isSlotOf(slot, version, digestHex(bundle)) && (sum === undefined || sum === sumOf(note));
      return isWhole ? note : undefined;
    } catch (error) {
      if (systemCode(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  /** Unpacks a bundle beside its place and renames it there whole. Does nothing when it is there. @throws UpdateError AGENT_BUNDLE_UNREADABLE */
  async stage(candidate: InstalledAgent, signal: AbortSignal): Promise<void> {
    const target = this.folder(slotOf(candidate));
    if (slotDamage(target, 'whole') === undefined && this.releaseIn(slotOf(candidate))) return;
    const temporary = `${target}.tmp`;
    try {
      await rm(temporary, { recursive: true, force: true });
      await mkdir(temporary, { recursive: true });
      const maxBytes = candidate.variant.unpackedBytes;
      await unpackBundle(candidate.bundleFile, temporary, { maxBytes, maxFiles: MAX_FILES }, signal);
      const damage = slotDamage(temporary, 'whole');
      if (damage !== undefined) {
        throw new UpdateError('AGENT_BUNDLE_UNREADABLE', `The bundle of the agent is not whole: ${damage}.`, {
          where: candidate.bundleFile,
          remedy: 'Make the bundle again (firmware-images/systemd/bundle.mjs) and publish it under a new version.',
        });
      }
      const { release, loaded } = candidate;
      const facts = { ...release, bundle: loaded };
      const note: SlotRelease = { format: 'drover.slot-release/1', ...facts, sum: sumOf(facts) };
      await writeDurably(join(temporary, RELEASE_NAME), JSON.stringify(note));
      for (const folder of foldersUnder(temporary)) await syncDirectory(folder);
      await rm(target, { recursive: true, force: true });
      await rename(temporary, target);
      await syncDirectory(dirname(target));
    } catch (error) {
      throw toWriteError(error, target);
    }
  }

  /** Removes delivered versions but those that run, are committed, the one before, on trial, or hold a release of `kept`. */
  collect(running: SlotName, kept: ReadonlySet<Digest>): void {
    const folder = deliveredVersions(this.#stateDir);
    if (!existsSync(folder)) return;
    const slots = readSlots(this.#stateDir);
    // Without a record nobody knows what is needed; the launcher writes a new one at its next start.
    if (slots === undefined || slots === 'damaged') return;
    const { committed, previous, candidate } = slots;
    const needed = new Set<string | undefined>([running, committed, previous, candidate?.slot]);
    for (const name of readdirSync(folder)) {
      const release = isSlotName(name) ? this.releaseIn(name) : undefined;
      if (!needed.has(name) && !(release && kept.has(release.digest)))
        rmSync(join(folder, name), { recursive: true, force: true });
    }
  }
}

const sumOf = ({ version, digest, bundle }: Pick<SlotRelease, 'version' | 'digest' | 'bundle'>): Digest =>
  digestOf(Buffer.from(`${version} ${digest} ${bundle}`));

const foldersUnder = (folder: string): string[] => [
  folder,
  ...readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name)),
];
