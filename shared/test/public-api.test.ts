import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const folders = readdirSync(new URL('../src', import.meta.url));

describe('what other workspaces may use', () => {
  it.each(folders)('is pinned for @drover/shared/%s: change this list on purpose only', async (folder) => {
    const api = (await import(`../src/${folder}/index.ts`)) as object;
    expect(Object.keys(api).sort()).toMatchSnapshot();
  });
});
