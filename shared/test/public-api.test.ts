import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const src = new URL('../src/', import.meta.url);
const folders = [...readdirSync(src), 'trust/tuf', 'trust/tuf/simulator'];

describe('what other workspaces may use', () => {
  it.each(folders)('is pinned for @drover/shared/%s: change this list on purpose only', async (folder) => {
    const api = (await import(new URL(`${folder}/index.ts`, src).href)) as object;
    expect(Object.keys(api).sort()).toMatchSnapshot();
  });
});
