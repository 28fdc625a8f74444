/** The program: runs the command line it was started with. The only place that knows the real streams and backend. */
import { EmulatorError } from '../core/errors.ts';
import { beforePatterns } from '../core/pattern.ts';
import { Interrupt } from './interrupt.ts';
import { run } from './program.ts';
import { allowLinearPatterns, setV8Flags } from './v8-flags.ts';
import { TOOL_VERSION } from './version.ts';

function workingDirectory(): string {
  try {
    return process.cwd();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new EmulatorError('E_HOST', `there is no working directory: ${code}; change to one that exists`);
  }
}

setV8Flags();
beforePatterns(allowLinearPatterns);
const status = await run(process.argv.slice(2), {
  streams: { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr },
  cwd: workingDirectory,
  // Loaded when a verb needs it: --version and --help stay quick.
  backend: async () => (await import('./local-backend.ts')).LOCAL_BACKEND,
  // Never released: a signal that comes twice, or while code is kept for the next process, does not cut the end short.
  interrupt: new Interrupt(),
  now: () => new Date(),
  version: TOOL_VERSION,
  trace: process.env.HINDSIGHT_TRACE !== undefined,
});
// At once: V8 would take its heap and all code apart, for memory that the kernel takes back as a whole; and input may stay open.
process.exit(status);
