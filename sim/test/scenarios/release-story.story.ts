import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { play } from './play.js';

/** What is broken, the step that must notice, and the steps that have to be played for it. */
const SABOTAGES = [
  { sabotage: 'rollout', step: 'roll out', only: '1,2,3,4' },
  { sabotage: 'drift', step: 'drift', only: '1,2,3,4,5,6' },
  { sabotage: 'fine-tune', step: 'fine-tune', only: '1,2,3,4,5,6,7' },
  { sabotage: 'bad-release', step: 'bad release', only: '1,2,3,4,5,8' },
  { sabotage: 'refusals', step: 'refusals', only: '1,2,3,4,9' },
] as const;

describe('the story, sabotaged', () => {
  it.each(SABOTAGES)(
    'when $sabotage is broken, the story exits with 1 and names "$step"',
    async ({ sabotage, step, only }) => {
      const { status, result, output } = await play('--devices', '7', '--only', only, '--sabotage', sabotage);
      expect(
        result.steps.filter(({ ok }) => !ok).map(({ name }) => name),
        output.slice(-3000),
      ).toEqual([step]);
      expect(result.ok).toBe(false);
      expect(status).toBe(1);
    },
  );
});

describe('the story, whole', () => {
  it('when another seed makes another world, every step holds', async () => {
    const { status, result, output } = await play('--seed', '7');
    expect(
      result.steps.filter(({ ok }) => !ok),
      output.slice(-3000),
    ).toEqual([]);
    expect(result.steps).toHaveLength(11);
    expect(status).toBe(0);
  });

  const data = process.env['DROVER_DATA_DIR'] ?? fileURLToPath(new URL('../../../../shared/data', import.meta.url));
  const gas = `${data}/gas-sensor-drift`;
  it.skipIf(!existsSync(gas))(
    `when it is played on real data with another seed, every step holds (needs ${gas})`,
    async () => {
      const { status, result, output } = await play('--seed', '3', '--data', gas);
      expect(
        result.steps.filter(({ ok }) => !ok),
        output.slice(-3000),
      ).toEqual([]);
      expect(status).toBe(0);
    },
  );
});
