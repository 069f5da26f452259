import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['{shared,agent,control-plane,sim}/test/**/*.test.ts', 'firmware-images/test/**/*.test.ts'],
    pool: 'forks',
    // Children of the agent start from its bundle (agent/src/host/process-entry.ts).
    globalSetup: new URL('bundle-for-tests.ts', import.meta.url).pathname,
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
