import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Type, type Static, type TSchema } from 'typebox';
import { formatProblems, validate } from '@drover/shared/validation';
import { TrialError } from './errors.js';

const FORMAT = 1;

export interface RunDescription<Content extends TSchema> {
  /** Which trial it is a run of. */
  readonly trial: string;
  /** Flags that decide what is tried, and their values: figures that were got with others do not add up. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly content: Content;
}

/** What an interrupted run left to be gone on from. */
export interface SavedRun<Content> {
  readonly content: Content | undefined;
  /** Whole at any moment: the run may be killed as well. */
  keep(content: Content): void;
}

/** @throws TrialError SAVED_RUN_UNREADABLE, SAVED_RUN_DIFFERENT; the file is left as it is */
export function openSavedRun<Content extends TSchema>(
  file: string | undefined,
  { trial, settings, content }: RunDescription<Content>,
): SavedRun<Static<Content>> {
  return {
    content: file !== undefined && existsSync(file) ? readRun(file, { trial, settings, content }) : undefined,
    keep(kept) {
      if (file === undefined) return;
      writeFileSync(`${file}.tmp`, JSON.stringify({ format: FORMAT, trial, settings, content: kept }));
      renameSync(`${file}.tmp`, file);
    },
  };
}

const Heading = Type.Object({
  format: Type.Literal(FORMAT),
  trial: Type.String(),
  settings: Type.Record(Type.String(), Type.Unknown()),
  content: Type.Unknown(),
});

function readRun<Content extends TSchema>(
  file: string,
  { trial, settings, content }: RunDescription<Content>,
): Static<Content> {
  const refused = (code: 'SAVED_RUN_UNREADABLE' | 'SAVED_RUN_DIFFERENT', what: string, cause?: unknown): TrialError =>
    new TrialError(code, what, { where: file, remedy: 'Give another file to --resume, or remove this one.', cause });
  const unreadable = (problems: Parameters<typeof formatProblems>[0]): TrialError =>
    refused('SAVED_RUN_UNREADABLE', `This is no run that this version of Drover kept: ${formatProblems(problems)}`);
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw refused('SAVED_RUN_UNREADABLE', error instanceof Error ? error.message : String(error), error);
  }
  const kept = validate(Heading, json, unreadable);
  if (kept.trial !== trial)
    throw refused('SAVED_RUN_DIFFERENT', `It holds a run of "${kept.trial}", and this is "${trial}".`);
  for (const name of new Set([...Object.keys(settings), ...Object.keys(kept.settings)])) {
    const [then, now] = [kept.settings[name], settings[name]].map(
      (value) => (JSON.stringify(value) as string | undefined) ?? 'nothing',
    );
    if (then !== now)
      throw refused('SAVED_RUN_DIFFERENT', `It was begun with ${then} for --${name}, and this has ${now}.`);
  }
  return validate(content, kept.content, unreadable);
}
