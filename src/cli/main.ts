/** The program: runs the command line it was started with. The only place that knows the real streams and backend. */
import { setFlagsFromString } from 'node:v8';
import { run } from './program.ts';
import { TOOL_VERSION } from './version.ts';

// Memory outside V8's heap (guest pages on their way to the disk) would have the whole heap marked after every 64 MB of it; it
// counts towards the heap's limit instead. Recording Debian: 2 full collections instead of 8.
setFlagsFromString('--external-memory-accounted-in-global-limit');
// Branch hints in generated code keep its slow paths away from the register allocator. Without the flag they are ignored.
setFlagsFromString('--experimental-wasm-branch-hinting');
// A region is left when its budget ends: it needs no look at the stack's limit at every head of a loop.
setFlagsFromString('--no-wasm-stack-checks');
// After V8's own 3,000 calls much is compiled by TurboFan that does not run long enough to pay for it.
setFlagsFromString('--invocation-count-for-turbofan=30000');
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
