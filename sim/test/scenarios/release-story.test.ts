import { describe, expect, it } from 'vitest';
import { play } from './play.js';

const TIMEOUT_MS = 180_000;

/** The short version; the whole story and every sabotage are in release-story.story.ts (npm run test:story). */
describe('the story of a release, in short', () => {
  it(
    'when nothing is broken, a small fleet trains, publishes, enrols, rolls out, serves and refuses attacks',
    async () => {
      const { status, result, output } = await play('--devices', '5', '--only', '1,2,3,4,5,9');
      expect(
        result.steps.filter(({ ok }) => !ok),
        output.slice(-3000),
      ).toEqual([]);
      expect(result.steps.map(({ name }) => name)).toEqual([
        'train',
        'publish',
        'enrol',
        'roll out',
        'serve',
        'refusals',
      ]);
      expect(result.ok).toBe(true);
      expect(status).toBe(0);
    },
    TIMEOUT_MS,
  );

  it(
    'when the golden vectors do not fit, the roll-out step fails and the story with it',
    async () => {
      const { status, result } = await play('--devices', '5', '--only', '1,2,3,4', '--sabotage', 'rollout');
      expect(status).toBe(1);
      expect(result.ok).toBe(false);
      expect(result.steps.map(({ name, ok }) => [name, ok])).toEqual([
        ['train', true],
        ['publish', true],
        ['enrol', true],
        ['roll out', false],
      ]);
    },
    TIMEOUT_MS,
  );
});
