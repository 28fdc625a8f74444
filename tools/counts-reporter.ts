/** Vitest's closing line in a form that scripts recognise: `N passed, N failed`, alone on the last line. */
import type { Reporter, TestModule } from 'vitest/node';

/** Prints the counts after the run; a module that fails to load and an error outside any test count as failures. */
export class CountsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly unknown[]): void {
    let passed = 0;
    let failed = unhandled.length;
    for (const module of modules) {
      let failedInside = 0;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === 'passed') passed++;
        else if (state === 'failed') failedInside++;
      }
      failed += failedInside === 0 && module.state() === 'failed' ? 1 : failedInside;
    }
    // The default reporter prints its summary in the same event; leaving last is what makes this the last line.
    process.once('exit', () => process.stdout.write(`${passed} passed, ${failed} failed\n`));
  }
}
