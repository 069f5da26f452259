import { describe, expect, it } from 'vitest';
import { bundleSources, codeSite } from '../../src/chaos/writes/code-site.js';

describe('when a write is named by its code site', () => {
  it('takes the functions of the product, innermost first, and leaves out the rest', () => {
    const stack = [
      'Error',
      '    at fs.renameSync (file:///repo/sim/dist/chaos/writes/interposition.js:30:13)',
      '    at writeDurablySync (file:///repo/agent/dist/host/durable-file.js:50:9)',
      '    at sqliteTransaction (/repo/node_modules/better-sqlite3/lib/methods/transaction.js:65:24)',
      '    at writeMirror (file:///repo/agent/dist/update/journal-mirror.js:40:5)',
      '    at Object.write (file:///repo/agent/dist/update/journal.js:70:13)',
      '    at async ModelUpdate.advance (file:///repo/agent/dist/update/model-update.js:1:1)',
    ].join('\n');
    expect(codeSite(stack)).toBe('writeDurablySync < writeMirror < write');
  });

  it('finds the modules that a bundle was made from, and calls what has no name after its module', () => {
    const bundle = '/repo/sim/dist/life.bundled.mjs';
    const text = ['// node_modules/typebox/value.js', 'parse()', '// agent/dist/update/store.js', 'rm()', 'rename()'];
    const sources = bundleSources(bundle, text.join('\n'));
    const stack = [
      'Error',
      `    at check (file://${bundle}:2:1)`,
      `    at async file://${bundle}:4:1`,
      `    at async _ReleaseStore.stage (file://${bundle}:5:1)`,
    ];
    expect(codeSite(stack.join('\n'), sources)).toBe('(store) < ReleaseStore.stage');
  });

  it('knows nothing where no product code called', () => {
    expect(codeSite('Error\n    at file:///repo/sim/dist/main.js:1:1')).toBeUndefined();
  });
});
