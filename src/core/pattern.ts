/** Regular expressions of users, over text of guests: one that cannot be matched in time that grows with the text is refused. */

const UNBOUNDED =
  'it cannot be matched in bounded time: leave out look-aheads (?=, back references \\1, and counts in the hundreds';

let prepare = (): void => {};
/** Has `host` make itself ready before a pattern is made. */
export function beforePatterns(host: () => void): void {
  prepare = host;
}

/** The pattern, `^` and `$` at lines; SyntaxError says what is wrong with it. */
export function patternOf(source: string): RegExp {
  prepare();
  const pattern = new RegExp(source, 'm');
  // V8 takes the flag where src/cli/v8-flags.ts has allowed it, and then also falls back from long backtracking.
  if (takesLinear()) {
    try {
      RegExp(source, `${LINEAR}m`);
    } catch {
      throw new SyntaxError(UNBOUNDED);
    }
  }
  return pattern;
}

/** V8's flag for matching breadth-first: no language has it, so nothing may know it before it runs. */
const LINEAR = ['l'].join('');

function takesLinear(): boolean {
  try {
    return RegExp('', LINEAR).flags === LINEAR;
  } catch {
    return false;
  }
}
