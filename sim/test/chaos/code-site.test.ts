import { describe, expect, it } from 'vitest';
import { codeSite } from '../../src/chaos/writes/code-site.js';

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

  it('knows nothing where no product code called', () => {
    expect(codeSite('Error\n    at file:///repo/sim/dist/main.js:1:1')).toBeUndefined();
  });
});
