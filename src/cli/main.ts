/** The program: runs the command line it was started with. The only place that knows the real streams and backend. */
import { run } from './program.ts';
import { setV8Flags } from './v8-flags.ts';
import { TOOL_VERSION } from './version.ts';

setV8Flags();
// `hindsight events | head`: nobody reads any more, so there is nothing more to say.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(process.exitCode ?? 0);
});
// Nothing is left to do: V8 would take its heap and all code apart, for memory that the kernel takes back as a whole.
process.on('beforeExit', () => process.exit());
process.exitCode = await run(process.argv.slice(2), {
  streams: { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr },
  cwd: process.cwd(),
  // Loaded when a verb needs it: --version and --help stay quick.
  backend: async () => (await import('./local-backend.ts')).LOCAL_BACKEND,
  now: () => new Date(),
  version: TOOL_VERSION,
  trace: process.env.HINDSIGHT_TRACE !== undefined,
});
process.stdin.unref?.();
