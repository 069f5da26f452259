import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Command, CommanderError, InvalidArgumentError } from 'commander';

/** What goes to the person, so that standard output is left to the summary. */
export const say = (line: string): void => void process.stderr.write(`${line}\n`);

/** An argument that is a whole number above 0. */
export function whole(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('It must be a whole number above 0.');
  return value;
}

const PROGRESS_EVERY_MS = 10_000;

/** Calls `tell` at most every ten seconds. */
export function seldom<Arguments extends unknown[]>(
  tell: (...facts: Arguments) => void,
): (...facts: Arguments) => void {
  let toldMs = Date.now();
  return (...facts) => {
    if (Date.now() - toldMs < PROGRESS_EVERY_MS) return;
    toldMs = Date.now();
    tell(...facts);
  };
}

/** What an interrupted run left to be gone on from. */
export function readSaved(file: string | undefined): unknown {
  return file !== undefined && existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
}

/** Whole at any moment: the run may be killed as well. */
export function keepSaved(file: string | undefined, saved: object): void {
  if (file === undefined) return;
  writeFileSync(`${file}.tmp`, JSON.stringify(saved));
  renameSync(`${file}.tmp`, file);
}

export function sayStopped(resume: string | undefined): void {
  say(
    resume === undefined
      ? 'Stopped before the end. With --resume FILE a run can be gone on with.'
      : `Stopped before the end. The next run with --resume ${resume} goes on from here.`,
  );
}

export interface TrialCommand<Flags> {
  readonly name: string;
  readonly description: string;
  readonly example: string;
  readonly addOptions: (command: Command) => Command;
  /** Gives the exit status. Stopped by Ctrl-C, it ends in order. */
  readonly run: (flags: Flags, signal: AbortSignal) => Promise<number>;
}

/** The frame of a command that runs for long: stopped in order by a signal, and with status 2 for what it was asked wrongly. */
export function runTrialCommand<Flags>(trial: TrialCommand<Flags>): void {
  const stopped = new AbortController();
  process.once('SIGINT', () => stopped.abort());
  process.once('SIGTERM', () => stopped.abort());
  let status = 0;
  const program = trial
    .addOptions(new Command(`npm run ${trial.name} --`).description(trial.description))
    .option('--json', 'the figures as one JSON object before the summary line')
    .addHelpText('after', `\nExample: npm run ${trial.name} -- ${trial.example}`)
    .exitOverride()
    .action(async (flags: Flags) => {
      status = await trial.run(flags, stopped.signal);
    });
  program.parseAsync(process.argv).then(
    () => process.exit(status),
    (error: unknown) => {
      if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : 2);
      say(error instanceof Error ? (error.stack ?? error.message) : String(error));
      process.exit(1);
    },
  );
}
