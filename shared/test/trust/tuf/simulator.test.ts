import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const ROOT = new URL('../../../../', import.meta.url);
const SIMULATOR = /trust\/tuf\/simulator/;

function* sourcesOf(workspace: string): Generator<{ file: string; text: string }> {
  const src = new URL(`${workspace}/src/`, ROOT);
  for (const entry of readdirSync(src, { recursive: true, encoding: 'utf8' })) {
    if (entry.endsWith('.ts')) yield { file: entry, text: readFileSync(new URL(entry, src), 'utf8') };
  }
}

describe('the repository simulator', () => {
  it.each(['shared', 'agent', 'control-plane'])('is imported by nothing that %s ships', (workspace) => {
    const sources = [...sourcesOf(workspace)];
    expect(sources.length).toBeGreaterThan(10);
    const importers = sources.filter(
      ({ file, text }) => !SIMULATOR.test(file) && /from '[^']*simulator[^']*'/.test(text) && SIMULATOR.test(text),
    );
    expect(importers.map(({ file }) => file)).toEqual([]);
  });
});
