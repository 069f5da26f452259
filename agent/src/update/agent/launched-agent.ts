import { randomUUID } from 'node:crypto';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { Version, type Digest } from '@drover/shared/ids';
import type { RunningModel } from '@drover/shared/protocol';
import { raceAbort } from '../../host/index.js';
import { NODE_VARIABLE, PROGRAM } from '../../launcher/contract.js';
import type { SlotFailure, SlotName, Slots } from '../../launcher/index.js';
import { UpdateError } from '../errors.js';
import type { AgentRunner, InstalledAgent } from '../ports.js';
import { slotOf, type AgentSlots } from './agent-slots.js';

export interface LaunchedAgentOptions {
  readonly slots: AgentSlots;
  /** The slot that this agent runs from. */
  readonly slot: SlotName;
  readonly nodeVersion: string;
  /** Arguments that say where configuration and data are; the version's own check gets them. */
  readonly configArguments: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly diskFreeBytes: (path: string) => Promise<number>;
  readonly nowMs: () => number;
  /** Ends this agent in order; the launcher starts the next one. */
  readonly restart: () => void;
}

/** Keys of ours in the launcher's record of a version on trial; it leaves them as they are. */
interface Trial {
  /** The agent that asked for it had been connected, so this one has to be, too: else nobody could reach the device any more. */
  readonly mustConnect?: boolean;
}

/** What the file system needs beside the files. */
const RESERVE_BYTES = 16 * 1024 ** 2;

/** The agent as the launcher started it. */
export class LaunchedAgent implements AgentRunner {
  readonly isUpdatable = true;
  readonly #options: LaunchedAgentOptions;
  #hasConnected = false;

  constructor(options: LaunchedAgentOptions) {
    this.#options = options;
  }

  async stage(candidate: InstalledAgent, signal: AbortSignal): Promise<void> {
    const { slots, diskFreeBytes } = this.#options;
    const neededBytes = candidate.variant.unpackedBytes + RESERVE_BYTES;
    const freeBytes = await diskFreeBytes(candidate.directory);
    if (freeBytes < neededBytes) {
      throw new UpdateError(
        'UPDATE_DISK_FULL',
        `The version needs ${toMiB(neededBytes)} MiB; ${toMiB(freeBytes)} MiB are free.`,
        {
          where: slots.folder(slotOf(candidate)),
          remedy: `Free ${toMiB(neededBytes - freeBytes)} MiB on this file system, then order the release again.`,
        },
      );
    }
    await slots.stage(candidate, signal);
  }

  async selfTest(candidate: InstalledAgent, signal: AbortSignal): Promise<string> {
    await this.stage(candidate, signal);
    this.#forget(candidate);
    const { slots, configArguments, environment } = this.#options;
    const folder = slots.folder(slotOf(candidate));
    // A number that only the program itself can give back: what happens to be printed is no answer.
    const nonce = randomUUID();
    const args = [join(folder, PROGRAM), 'self-test', '--nonce', nonce, ...configArguments];
    const { status, output } = await runProgram(args, { ...environment, [NODE_VARIABLE]: process.execPath }, signal);
    const said = output
      .split('\n')
      .map(parsedLine)
      .find((line) => line?.['nonce'] === nonce);
    if (status === 0 && said?.['version'] === candidate.release.version) return String(said['summary']);
    const why = status === 0 ? `it calls itself ${String(said?.['version'])}` : `it ended with ${status}`;
    throw new UpdateError(
      'AGENT_SELF_TEST_FAILED',
      `The agent ${candidate.release.version} does not pass its own check here (${why}): ${output.trim().slice(-500)}`,
      { where: folder, remedy: 'Read what it printed, mend the release or the device, and order a new release.' },
    );
  }

  async activate(candidate: InstalledAgent, commitWithinMs: number, signal: AbortSignal): Promise<RunningModel> {
    const { slots, slot, restart } = this.#options;
    const wanted = slotOf(candidate);
    if (wanted === slot) return this.#runningAs(candidate);
    const record = slots.read();
    if (record.lastFailure?.slot === wanted) throw takenBack(candidate, record.lastFailure);
    await this.stage(candidate, signal);
    const trial: Trial = { mustConnect: this.#hasConnected };
    slots.write({ ...record, candidate: { slot: wanted, attempts: 0, commitWithinMs, ...trial } });
    restart();
    return raceAbort(new Promise<never>(() => undefined), signal);
  }

  /** A new order for a version that failed before tries it again. */
  #forget(candidate: InstalledAgent): void {
    const { lastFailure, ...record } = this.#options.slots.read();
    if (lastFailure?.slot === slotOf(candidate)) this.#options.slots.write(record);
  }

  async giveUp(reason: string): Promise<void> {
    const { slots, slot, restart, nowMs } = this.#options;
    const { candidate, ...record } = slots.read();
    if (!candidate) return;
    const isOnTrial = candidate.slot === slot;
    const lastFailure: SlotFailure = { slot, cause: 'given-up', detail: reason.slice(0, 500), atMs: nowMs() };
    slots.write(isOnTrial ? { ...record, lastFailure } : record);
    if (!isOnTrial) return;
    restart();
    await new Promise<never>(() => undefined);
  }

  commit(candidate: InstalledAgent): void {
    const { slots, slot } = this.#options;
    const { candidate: _, suspect: _doubt, lastFailure: _old, committed, previous, ...rest } = slots.read();
    if (slotOf(candidate) !== slot) throw new Error(`${slotOf(candidate)} does not run; ${slot} does.`);
    const before = committed === slot ? previous : committed;
    const record: Slots = { ...rest, committed: slot, ...(before && { previous: before }) };
    slots.write(record);
  }

  running(): RunningModel | undefined {
    const { slots, slot } = this.#options;
    const release = slots.releaseIn(slot);
    return release && { release: pick(release), loaded: release.bundle, provider: this.#provider() };
  }

  /** Told by the link. */
  connected(): void {
    this.#hasConnected = true;
  }

  unfit(): string | undefined {
    const { slots, slot } = this.#options;
    const { candidate } = slots.read();
    const mustConnect = candidate?.slot === slot && (candidate as Trial).mustConnect === true;
    return mustConnect && !this.#hasConnected
      ? 'it has not reached the control plane, which the version before it did'
      : undefined;
  }

  committedVersion(): Version {
    const { committed } = this.#options.slots.read();
    return Version(committed.slice(0, committed.lastIndexOf('-')));
  }

  collect(kept: ReadonlySet<Digest>): void {
    this.#options.slots.collect(this.#options.slot, kept);
  }

  /** Once it serves: what the launcher doubted about a start before is settled. */
  settle(): void {
    const { suspect, ...record } = this.#options.slots.read();
    if (suspect) this.#options.slots.write(record);
  }

  #runningAs({ release, loaded }: InstalledAgent): RunningModel {
    return { release, loaded, provider: this.#provider() };
  }
  #provider(): RunningModel['provider'] {
    return { requested: ['node'], actual: `node ${this.#options.nodeVersion}` };
  }
}

const pick = ({ version, digest }: { version: Version; digest: RunningModel['loaded'] }) => ({ version, digest });
const toMiB = (bytes: number): number => Math.ceil(bytes / 1024 ** 2);

const takenBack = ({ release }: InstalledAgent, { cause, detail }: SlotFailure) =>
  new UpdateError(
    'AGENT_TAKEN_BACK',
    `The agent ${release.version} was started and taken back (${cause}): ${detail}.`,
    {
      remedy:
        'The device went back to the agent before it by itself. Look at its log (journalctl -u drover-agent), mend the release and publish a new one.',
    },
  );

function parsedLine(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

const MAX_OUTPUT = 64 * 1024;

/** Everything it prints, cut at a bound; killed when the signal aborts. */
function runProgram(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
): Promise<{ status: number | string; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn('/bin/sh', args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: environment,
      signal,
      killSignal: 'SIGKILL',
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-MAX_OUTPUT)));
    child.once('error', (error) => {
      reject(signal.aborted ? (signal.reason as Error) : error);
    });
    child.once('close', (code, killedBy) => resolve({ status: killedBy ?? code ?? 'nothing', output }));
  });
}
