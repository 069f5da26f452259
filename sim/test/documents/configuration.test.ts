import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { ROOT } from './code-tables.js';

/** `serve.port` and the like: the leaves of a `Type.Object({…})`, by the names of their keys. */
function keysOf(node: ts.Expression): string[] {
  const [properties] = ts.isCallExpression(node) && node.expression.getText() === 'Type.Object' ? node.arguments : [];
  if (!properties || !ts.isObjectLiteralExpression(properties)) return [''];
  return properties.properties
    .filter(ts.isPropertyAssignment)
    .flatMap(({ name, initializer }) => keysOf(initializer).map((key) => `${name.getText()}${key && `.${key}`}`));
}

function configurationKeys(file: string, schema: string): string[] {
  const tree = ts.createSourceFile(file, readFileSync(join(ROOT, file), 'utf8'), ts.ScriptTarget.Latest, true);
  const declaration = tree.statements
    .filter(ts.isVariableStatement)
    .flatMap(({ declarationList }) => [...declarationList.declarations])
    .find(({ name }) => name.getText() === schema);
  if (!declaration?.initializer) throw new Error(`${file} does not declare ${schema}.`);
  return keysOf(declaration.initializer);
}

/** The keys in the first column of the table below a heading. */
function documentedKeys(heading: string): string[] {
  const page = readFileSync(join(ROOT, 'docs/operations.md'), 'utf8');
  const section = page.split(/^#+ /m).find((text) => text.startsWith(heading)) ?? '';
  const cells = [...section.matchAll(/^\| (`[^|]*)\|/gm)].map(([, cell]) => cell ?? '');
  return cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, key]) => key ?? ''));
}

describe('docs/operations.md', () => {
  it.each([
    ['Agent:', 'agent/src/config/index.ts', 'AgentConfig'],
    ['Control plane\n', 'control-plane/src/config.ts', 'ControlPlaneConfiguration'],
  ])('lists every configuration key under "%s", and no other', (heading, file, schema) => {
    const keys = configurationKeys(file, schema);
    expect(keys.length).toBeGreaterThan(5);
    expect(documentedKeys(heading).sort()).toEqual(keys.sort());
  });
});
