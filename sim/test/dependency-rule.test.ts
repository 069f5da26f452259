import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
/** docs/architecture.md, "Folders". */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  shared: [],
  agent: ['shared'],
  'control-plane': ['shared'],
  sim: ['agent', 'shared'],
};
const read = (file: string): string => readFileSync(`${root}${file}`, 'utf8');

describe.each(Object.entries(MAY_IMPORT))('when %s depends on another workspace', (workspace, allowed) => {
  it('is one that the architecture allows, by its project references and its package', () => {
    const { references } = JSON.parse(read(`${workspace}/tsconfig.json`)) as { references: { path: string }[] };
    expect(references.map(({ path }) => path.replace('../', '')).sort()).toEqual([...allowed]);
    const { dependencies } = JSON.parse(read(`${workspace}/package.json`)) as { dependencies: Record<string, string> };
    const own = Object.keys(dependencies).filter((name) => name.startsWith('@drover/'));
    expect(own.map((name) => name.replace('@drover/', '')).sort()).toEqual([...allowed]);
  });

  it('imports no other, by name or by path', () => {
    const imported = sourcesOf(workspace).flatMap((file) =>
      [...read(file).matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map(([, name = '']) => ({ file, name })),
    );
    const others = Object.keys(MAY_IMPORT).filter((other) => other !== workspace);
    const wrong = imported.filter(({ name }) =>
      others.some(
        (other) =>
          (!allowed.includes(other) && name.startsWith(`@drover/${other}`)) ||
          new RegExp(`^(\\.\\./)+${other}/`).test(name),
      ),
    );
    expect(imported.length).toBeGreaterThan(0);
    expect(wrong).toEqual([]);
  });
});

function sourcesOf(workspace: string): string[] {
  return readdirSync(`${root}${workspace}/src`, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => `${workspace}/src/${file}`);
}
