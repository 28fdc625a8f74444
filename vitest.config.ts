import { defineConfig } from 'vitest/config';
import { CountsReporter } from './tools/counts-reporter.ts';

export default defineConfig({
  test: {
    environment: 'node',
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    // Generous: one test may boot a kernel while another does the same on the second core.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    teardownTimeout: 10_000,
    reporters: ['default', new CountsReporter()],
  },
});
