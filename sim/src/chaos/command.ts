import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { formatCodedError } from '@drover/shared/coded-error';
import { TrialError } from './errors.js';

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

export function sayStopped(resume: string | undefined): void {
  say(
    resume === undefined
      ? 'Stopped before the end. With --resume FILE a run can be gone on with.'
      : `Stopped before the end. The next run with --resume ${resume} goes on from here.`,
  );
}

export interface TrialCommand<Flags extends object> {
  readonly name: string;
  readonly description: string;
  readonly example: string;
  readonly addOptions: (command: Command) => Command;
  /** Gives the exit status. Stopped by Ctrl-C, it ends in order. `isGiven`: whether a flag was written out, and has not just its default. */
  readonly run: (flags: Flags, signal: AbortSignal, isGiven: (flag: keyof Flags) => boolean) => Promise<number>;
}

/** The frame of a command that runs for long: stopped in order by a signal, and with status 2 for what it was asked wrongly. */
export function runTrialCommand<Flags extends object>(trial: TrialCommand<Flags>): void {
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
      const isGiven = (flag: keyof Flags): boolean => program.getOptionValueSource(String(flag)) === 'cli';
      status = await trial.run(flags, stopped.signal, isGiven);
    });
  program.parseAsync(process.argv).then(
    () => process.exit(status),
    (error: unknown) => {
      if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : 2);
      if (error instanceof TrialError) {
        say(formatCodedError(error.toJSON()));
        process.exit(2);
      }
      say(error instanceof Error ? (error.stack ?? error.message) : String(error));
      process.exit(1);
    },
  );
}
