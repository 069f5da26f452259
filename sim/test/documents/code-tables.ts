import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** One code as a table of the source declares it. */
export interface DeclaredCode {
  /** Relative to the repository. */
  readonly file: string;
  readonly code: string;
  readonly retryable: boolean;
}

export interface SourceFile {
  readonly file: string;
  readonly text: string;
}

/** Every source file of every workspace. Read as text: the simulator must not import the control plane. */
export const sourceFiles = (): SourceFile[] =>
  ['shared', 'agent', 'control-plane', 'sim'].flatMap((workspace) =>
    readdirSync(join(ROOT, workspace, 'src'), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts'))
      .map((path) => join(workspace, 'src', path))
      .sort()
      .map((file) => ({ file, text: readFileSync(join(ROOT, file), 'utf8') })),
  );

/**
 * The codes of every `X_CODES = {…} as const satisfies CodeTable` in a file. A table that is written in another way is an error, so that none
 * can escape the comparison with the documentation; one that only spreads others together declares nothing.
 */
export function declaredCodes({ file, text }: SourceFile): DeclaredCode[] {
  if (!text.includes('_CODES')) return [];
  const tree = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  return tree.statements
    .filter(ts.isVariableStatement)
    .flatMap((statement) => [...statement.declarationList.declarations])
    .filter(({ name }) => /_CODES$/.test(name.getText()))
    .flatMap((table) => codesOf(file, table));
}

function codesOf(file: string, { name, initializer }: ts.VariableDeclaration): DeclaredCode[] {
  const entries = initializer && objectIn(initializer);
  if (!entries) throw new Error(`${file}: ${name.getText()} is no object.`);
  if (entries.properties.every(ts.isSpreadAssignment)) return [];
  if (initializer.getText().endsWith('satisfies CodeTable'))
    return entries.properties.map((entry) => codeOf(file, entry));
  throw new Error(`${file}: ${name.getText()} does not say "satisfies CodeTable".`);
}

function objectIn(expression: ts.Expression): ts.ObjectLiteralExpression | undefined {
  if (ts.isObjectLiteralExpression(expression)) return expression;
  if (ts.isSatisfiesExpression(expression) || ts.isAsExpression(expression)) return objectIn(expression.expression);
  return undefined;
}

function codeOf(file: string, entry: ts.ObjectLiteralElementLike): DeclaredCode {
  const facts = ts.isPropertyAssignment(entry) && objectIn(entry.initializer);
  const retryable = (facts || undefined)?.properties
    .filter(ts.isPropertyAssignment)
    .find(({ name }) => name.getText() === 'retryable')
    ?.initializer.getText();
  if (!entry.name || (retryable !== 'true' && retryable !== 'false'))
    throw new Error(`${file}: "${entry.getText()}" does not state {fault, retryable} in place.`);
  return { file, code: entry.name.getText(), retryable: retryable === 'true' };
}
