import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { declaredCodes, ROOT, sourceFiles, type DeclaredCode } from './code-tables.js';
import { documentedCodes, sharedNames } from './errors-page.js';

const declared = sourceFiles().flatMap(declaredCodes);
const page = readFileSync(join(ROOT, 'docs/errors.md'), 'utf8');
const documented = documentedCodes(page);

const keyOf = ({ file, code }: Pick<DeclaredCode, 'file' | 'code'>) => `${code} (${file})`;
const sorted = (texts: Iterable<string>) => [...texts].sort();

describe('docs/errors.md', () => {
  it('finds the tables of all four workspaces', () => {
    const workspaces = new Set(declared.map(({ file }) => file.split('/')[0]));
    expect(sorted(workspaces as Set<string>)).toEqual(['agent', 'control-plane', 'shared', 'sim']);
    expect(declared.length).toBeGreaterThan(100);
  });

  it('documents each code that the source declares, exactly once, and no other', () => {
    expect(sorted(documented.map(keyOf))).toEqual(sorted(declared.map(keyOf)));
  });

  it('says of each code whether a retry can help, as its table does', () => {
    const stated = (codes: readonly DeclaredCode[]) => sorted(codes.map((code) => `${keyOf(code)} ${code.retryable}`));
    expect(stated(documented)).toEqual(stated(declared));
  });

  it('says what each code means and what to do', () => {
    const silent = documented.filter(({ meaning, advice }) => meaning.length < 10 || advice.length < 5);
    expect(silent.map(keyOf)).toEqual([]);
  });

  it('admits each name that several files declare', () => {
    const codes = declared.map(({ code }) => code);
    const repeated = new Set(codes.filter((code, index) => codes.indexOf(code) !== index));
    expect(sorted(sharedNames(page))).toEqual(sorted(repeated));
  });
});

describe('the comparison', () => {
  const table = (rows: string) =>
    `### Part\n\nDeclared in \`a/errors.ts\`.\n\n| code | meaning | retryable | what the operator does |\n| --- | --- | --- | --- |\n${rows}`;

  it('reads a table of the source', () => {
    const text = `export const A_CODES = { A_ONE: { fault: 'peer', retryable: true } } as const satisfies CodeTable;`;
    expect(declaredCodes({ file: 'a.ts', text })).toEqual([{ file: 'a.ts', code: 'A_ONE', retryable: true }]);
  });

  it('refuses a table that is not held to CodeTable, which would escape it', () => {
    const text = `export const A_CODES = { A_ONE: { fault: 'peer', retryable: true } } as const;`;
    expect(() => declaredCodes({ file: 'a.ts', text })).toThrow('satisfies CodeTable');
  });

  it('refuses a row that does not say yes or no', () => {
    expect(() => documentedCodes(table('| `A_ONE` | a meaning | maybe | advice |'))).toThrow('cannot be read');
  });

  it('refuses a table whose section names no file', () => {
    const page = table('| `A_ONE` | a meaning | no | advice |').replace('Declared in', 'See');
    expect(() => documentedCodes(page)).toThrow('does not say where');
  });
});
