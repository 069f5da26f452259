import { CliError } from './errors.js';

/** The process as the commands see it; `main.ts` makes the real one. */
export interface Terminal {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly homeDirectory: string;
  /** True where a person can answer questions. */
  readonly interactive: boolean;
  /** Aborted when the user interrupts: long work stops where nothing is lost. */
  readonly interrupted: AbortSignal;
  out(text: string): void;
  err(text: string): void;
  ask(question: string): Promise<string>;
  /** The same for what nobody may read over the shoulder: nothing is echoed. */
  askSecret(question: string): Promise<string>;
  /** Resolves after the time, rejects when the user interrupts. */
  sleep(ms: number): Promise<void>;
}

export type Cell = string | number | boolean | undefined;

/** Columns padded to their widest cell; empty cells as a dash. */
export function formatTable(headings: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const text = [
    headings,
    ...rows.map((row) => row.map((cell) => (cell === undefined || cell === '' ? '-' : String(cell)))),
  ];
  const widths = headings.map((_, column) => Math.max(...text.map((row) => row[column]?.length ?? 0)));
  return text
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** 1.5 GiB, 12.0 MiB, 300 B. */
export function formatBytes(bytes: number): string {
  const [unit, size] = (
    [
      ['GiB', 1024 ** 3],
      ['MiB', 1024 ** 2],
      ['KiB', 1024],
    ] as const
  ).find(([, least]) => bytes >= least) ?? ['B', 1];
  return unit === 'B' ? `${bytes} B` : `${(bytes / size).toFixed(1)} ${unit}`;
}

export const formatTime = (atMs: number | undefined): string =>
  atMs === undefined ? '-' : new Date(atMs).toISOString().replace('T', ' ').slice(0, 19);

/** Says what will happen and asks. Without a person, `--yes` has to be the answer. @throws CliError CLI_NEEDS_CONSENT */
export async function requireConsent(terminal: Terminal, yes: boolean, consequence: string): Promise<void> {
  if (yes) return;
  const refuse = (what: string) =>
    new CliError('CLI_NEEDS_CONSENT', what, { remedy: 'Add --yes if this is what you want.' });
  if (!terminal.interactive) throw refuse(`This needs consent, and there is nobody to ask: ${consequence}`);
  const answer = await terminal.ask(`${consequence} Go on? [y/N] `);
  if (!/^y(es)?$/i.test(answer.trim())) throw refuse('Nothing was done.');
}
