import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT, sourceFiles } from './code-tables.js';

const files = sourceFiles();
const protocol = readFileSync(join(ROOT, 'docs/protocol.md'), 'utf8');
const sections = new Map(protocol.split(/^## /m).map((text) => [Number.parseInt(text, 10), text]));

/** Words of the section that a citing file has to find there: a new numbering of the page must not leave the source behind. */
const SUBJECTS: Readonly<Record<number, string>> = {
  1: 'Versions',
  2: 'Envelopes',
  3: 'Releases',
  4: 'Deployments',
  5: 'Reports',
  6: 'Update states',
  7: 'Enrolment',
  8: 'HTTP for devices',
  9: 'Inference on the device',
  10: 'Chunks, packs and deltas',
  11: 'Recovery',
  12: 'Metadata of the release repository',
  13: 'Mirrors and bundles',
  14: 'Attached applications',
};

const citations = files.flatMap(({ file, text }) =>
  [...text.matchAll(/docs\/protocol\.md[,:]? section (\d+)(?:, steps? (\d+)(?: (?:and|to) (\d+))?)?/g)].map((match) => {
    const [, section, ...steps] = match;
    return { file, section: Number(section), steps: steps.filter(Boolean).map(Number) };
  }),
);

describe('docs/protocol.md', () => {
  it('numbers its sections as the source cites them', () => {
    const titles = [...sections].filter(([number]) => !Number.isNaN(number));
    expect(titles.map(([number]) => number)).toEqual(Object.keys(SUBJECTS).map(Number));
    for (const [number, text] of titles) expect(text).toContain(SUBJECTS[number]);
  });

  it('has each section and step that the source cites', () => {
    expect(citations.length).toBeGreaterThan(15);
    for (const { file, section, steps } of citations) {
      const text = sections.get(section);
      expect(text, `${file} cites section ${section}`).toBeDefined();
      for (const step of steps)
        expect(text, `${file} cites section ${section}, step ${step}`).toMatch(new RegExp(`^${step}\\. `, 'm'));
    }
  });
});

describe('documents that the source names', () => {
  it('exist', () => {
    const named = files.flatMap(({ text }) => [...text.matchAll(/docs\/[a-z0-9/-]+\.md/g)].map(([path]) => path));
    expect(named.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });
});
