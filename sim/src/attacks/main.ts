import { tryAttack } from './attack.js';
import { ATTACKS } from './table.js';
import { openAttackWorld } from './world.js';

// npm run attacks [-- TEXT]: tries every attack, or those whose name contains the text, on a real control plane and a real agent. The last line is
// `attacks=… accepted=…`; the exit code is 1 unless nothing was accepted.

const wanted = process.argv[2] ?? '';
const chosen = ATTACKS.filter(({ name }) => name.includes(wanted));
const stop = new AbortController();
process.once('SIGINT', () => stop.abort(new Error('interrupted')));

const world = await openAttackWorld(stop.signal);
let accepted = 0;
try {
  for (const attack of chosen) {
    const { repulse, failure } = await tryAttack(attack, world);
    if (repulse) process.stdout.write(`refused   ${attack.name}: ${repulse.code} (${repulse.seenIn})\n`);
    else {
      accepted += 1;
      process.stdout.write(`ACCEPTED  ${attack.name}: ${failure ?? ''}\n`);
    }
  }
} finally {
  await world.close();
}
process.stdout.write(`attacks=${chosen.length} accepted=${accepted}\n`);
process.exitCode = accepted > 0 || chosen.length === 0 ? 1 : 0;
