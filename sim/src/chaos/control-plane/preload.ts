import { writeSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { interposeWrites } from '../writes/interposition.js';

// Loaded by `node --import` before the control plane: kills it at its nth write.
const write = writeSync;
const [workspace = '', occurrence = '0'] = (process.env['CHAOS_KILL'] ?? '').split('|');
let writes = 0;
Error.stackTraceLimit = 20;
await interposeWrites(pathToFileURL(join(workspace, 'package.json')).href, ({ site, phase }) => {
  writes += 1;
  if (writes !== Number(occurrence)) return;
  write(2, `{"killed":${JSON.stringify(`${phase} ${site}`)}}\n`);
  process.kill(process.pid, 'SIGKILL');
});
