/** How V8 is set for the engine. Machine code that is kept for later processes is of use only under the same flags. */
import { setFlagsFromString } from 'node:v8';

export function setV8Flags(): void {
  // Memory outside V8's heap (guest pages on their way to the disk) would have the whole heap marked after every 64 MB of it; it
  // counts towards the heap's limit instead. Recording Debian: 2 full collections instead of 8.
  setFlagsFromString('--external-memory-accounted-in-global-limit');
  // Branch hints in generated code keep its slow paths away from the register allocator. Without the flag they are ignored.
  setFlagsFromString('--experimental-wasm-branch-hinting');
  // A region is left when its budget ends: it needs no look at the stack's limit at every head of a loop.
  setFlagsFromString('--no-wasm-stack-checks');
  // After V8's own 3,000 calls much is compiled by TurboFan that does not run long enough to pay for it.
  setFlagsFromString('--invocation-count-for-turbofan=30000');
}

/**
 * Lets patterns over a guest's text go on breadth-first where backtracking takes long (src/core/pattern.ts). V8 keeps no machine code
 * from one process to the next for a process of these flags, which costs a boot 1.3 s: they are set where there is a pattern.
 */
export function allowLinearPatterns(): void {
  setFlagsFromString('--enable-experimental-regexp-engine');
  setFlagsFromString('--enable-experimental-regexp-engine-on-excessive-backtracks');
}
