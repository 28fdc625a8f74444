/** The program: runs the command line it was started with. The only place that knows the real streams and backend. */
import { run } from './program.ts';
import { TOOL_VERSION } from './version.ts';

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
