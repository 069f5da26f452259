import { defineConfig } from 'vitest/config';

/** The long suite: the whole story, and the story sabotaged. Minutes, so it has its own name (`npm run test:story`). */
export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['sim/test/**/*.story.ts'],
    pool: 'forks',
    maxWorkers: 1,
    testTimeout: 400_000,
    hookTimeout: 60_000,
  },
});
