/** One row of docs/errors.md. */
export interface DocumentedCode {
  /** The source file that the section names. */
  readonly file: string;
  readonly code: string;
  readonly retryable: boolean;
  readonly meaning: string;
  readonly advice: string;
}

const DECLARED_IN = /^Declared in `([^`]+)`/;
const HEADING = /^\|\s*code\s*\|\s*meaning\s*\|\s*retryable\s*\|\s*what the operator does\s*\|$/;

/** Reads the tables of codes, each under the "Declared in" line of its section. Throws on a row that it cannot read. */
export function documentedCodes(page: string): DocumentedCode[] {
  const rows: DocumentedCode[] = [];
  let file: string | undefined;
  let inTable = false;
  for (const line of page.split('\n')) {
    if (line.startsWith('#')) file = undefined;
    file = DECLARED_IN.exec(line)?.[1] ?? file;
    if (!line.startsWith('|')) inTable = false;
    else if (HEADING.test(line)) inTable = true;
    else if (inTable && !/^\|[\s|:-]+$/.test(line)) rows.push(rowOf(line, file));
  }
  return rows;
}

function rowOf(line: string, file: string | undefined): DocumentedCode {
  const [, code = '', meaning = '', retryable = '', advice = ''] = line.split('|').map((cell) => cell.trim());
  const name = /^`([A-Z][A-Z0-9_]+)`$/.exec(code)?.[1];
  if (file === undefined) throw new Error(`The section of ${code} does not say where its codes are declared.`);
  if (name === undefined || (retryable !== 'yes' && retryable !== 'no'))
    throw new Error(`This row cannot be read: ${line}`);
  return { file, code: name, retryable: retryable === 'yes', meaning, advice };
}

/** The names in the section about names that several files declare. */
export function sharedNames(page: string): string[] {
  const section = page.split(/^## /m).find((text) => text.startsWith('The same name')) ?? '';
  return [...section.matchAll(/^\| `([A-Z][A-Z0-9_]+)`/gm)].map(([, name]) => name ?? '');
}
