import { UUID_PATTERN } from '@drover/shared/ids';
import { CliError } from './errors.js';
import { readText } from './files.js';

/** One answer of a file, and where it stands there. */
export interface FileAnswer {
  readonly line: number;
  readonly id: string;
  /** Null where nobody can tell. */
  readonly label: string | number | null;
}

const SHOWN_PROBLEMS = 10;
const uuid = new RegExp(UUID_PATTERN);

/**
 * Reads answers to requests for labels: CSV of `id,label`, with or without a heading, or one JSON object of `id` and `label` on each line. All that is
 * wrong is told at once, by line, before anything is sent.
 *
 * @throws CliError CLI_FILE_UNREADABLE, CLI_ANSWERS_UNFIT
 */
export function readAnswers(file: string): FileAnswer[] {
  const answers: FileAnswer[] = [];
  const problems: string[] = [];
  const lines = readText(file)
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/);
  lines.forEach((text, index) => {
    const line = index + 1;
    if (text.trim() === '' || (line === 1 && /^"?id"?,"?label"?$/i.test(text.trim()))) return;
    const read = text.trimStart().startsWith('{') ? fromJson(text) : fromCsv(text);
    if (typeof read === 'string') problems.push(`line ${line}: ${read}`);
    else answers.push({ line, ...read });
  });
  if (problems.length === 0 && answers.length > 0) return answers;
  const more = problems.length > SHOWN_PROBLEMS ? `; and ${problems.length - SHOWN_PROBLEMS} more` : '';
  throw new CliError(
    'CLI_ANSWERS_UNFIT',
    problems.length === 0
      ? 'The file has no answers.'
      : `Nothing was sent, because lines cannot be read: ${problems.slice(0, SHOWN_PROBLEMS).join('; ')}${more}.`,
    {
      where: file,
      remedy: 'Write on each line ID,LABEL, or {"id": …, "label": …}; ids are those of `drover labels list`.',
    },
  );
}

type Read = Omit<FileAnswer, 'line'> | string;

/** An id has no comma, so the first one ends it; what follows is the label, in quotes or not. Empty: nobody can tell. */
function fromCsv(text: string): Read {
  const comma = text.indexOf(',');
  if (comma < 0) return 'there is no comma';
  const cell = text.slice(comma + 1).trim();
  const isQuoted = cell.startsWith('"');
  if (isQuoted && !/^"(?:[^"]|"")*"$/.test(cell)) return 'the quotes do not close';
  const label = isQuoted ? cell.slice(1, -1).replaceAll('""', '"') : cell;
  return checked(
    text
      .slice(0, comma)
      .trim()
      .replace(/^"(.*)"$/, '$1'),
    label === '' ? null : label,
  );
}

function fromJson(text: string): Read {
  let read: { readonly id?: unknown; readonly label?: unknown };
  try {
    read = JSON.parse(text) as typeof read;
  } catch {
    return 'this is not JSON';
  }
  const { id, label } = read;
  if (typeof id !== 'string') return 'there is no "id"';
  if (label !== null && typeof label !== 'string' && typeof label !== 'number')
    return '"label" is neither a name, nor an index, nor null';
  return checked(id, label);
}

function checked(id: string, label: FileAnswer['label']): Read {
  if (!uuid.test(id)) return `${JSON.stringify(id.slice(0, 60))} is no id of a request`;
  const isFit =
    typeof label === 'string'
      ? label.length >= 1 && label.length <= 200
      : label === null || (Number.isInteger(label) && label >= 0 && label < 1e9);
  return isFit ? { id, label } : `${JSON.stringify(label).slice(0, 60)} can be no label`;
}
