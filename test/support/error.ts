import { EmulatorError } from '../../src/core/errors.ts';

/** The EmulatorError that `run` throws, as `code: message`; fails the test when it throws another error or none. */
export function errorOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (!(error instanceof EmulatorError)) throw error;
    return `${error.code}: ${error.message}`;
  }
  throw new Error('nothing was thrown');
}
