import { defineConfig } from 'vitest/config';
import { CountsReporter } from './tools/counts-reporter.ts';

export default defineConfig({
  test: {
    environment: 'node',
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    // Only a hang runs into these: what a test may cost is bounded by counted work or CPU seconds, never by a clock.
    testTimeout: 30 * 60_000,
    hookTimeout: 30 * 60_000,
    teardownTimeout: 60_000,
    // No test leaves anything in the caches of whoever runs it.
    env: { HINDSIGHT_CACHE: '' },
    reporters: ['default', new CountsReporter()],
  },
});
