/**
 * What a guest that polls pays: ticks per CPU second of loops that leave the engine at every round, beside a straight loop of the same run.
 * `node tools/run.mjs bench/polling [million ticks]`; medians of {@link RUNS} interleaved runs.
 */
import { HANDLER, hexBytes, PvGuest } from '../../test/support/pv-guest.ts';
import { amountOf, commandLine } from '../command-line.ts';

const RUNS = 5;

interface Loop {
  readonly code: string;
  /** The handler of page faults. */
  readonly handler?: string;
  /** Instructions, hypercalls and deliveries of a round. */
  readonly ticks: number;
}

const LOOPS: Readonly<Record<string, Loop>> = {
  // 1: add rax, rbx; xor rcx, rax; lea rdx, [rax + rcx*2 + 8]; sub rsi, 1; jnz 1; jmp 1
  straight: { code: '48 01 d8  48 31 c1  48 8d 54 48 08  48 83 ee 01  75 ef  eb ed', ticks: 5 },
  // 1: mov eax, 29; xor edi, edi; syscall; jmp 1 (SCHEDOP_yield)
  yield: { code: 'b8 1d 00 00 00  31 ff  0f 05  eb f5', ticks: 4 },
  // 1: rdtsc; shl rdx, 32; or rax, rdx; cmp rax, r8; jb 1
  rdtsc: { code: '0f 31  48 c1 e2 20  48 09 d0  4c 39 c0  72 f2', ticks: 5 },
  // 1: mov eax, [rdi]; jmp 1, whose handler goes on behind the load:
  // pop rcx; pop r11; add rsp, 8; add qword [rsp], 2; push 0; push rcx; push r11; push rax; mov eax, 23; syscall
  'page fault': {
    code: '8b 07  eb fc',
    handler: '59  41 5b  48 83 c4 08  48 83 04 24 02  6a 00  51  41 53  50  b8 17 00 00 00  0f 05',
    ticks: 13,
  },
};

/** Million ticks a CPU second. */
function speed({ code, handler }: Loop, ticks: number): number {
  const guest = new PvGuest({ tier: 'hot' as 'cold', watched: false });
  if (handler !== undefined) {
    guest.handle({ 14: { at: HANDLER } });
    guest.write(HANDLER, hexBytes(handler));
  }
  guest.set({ rdi: handler === undefined ? 0 : 0x1000, rsi: -1n, r8: -1n, rbx: 3 });
  guest.at(code);
  const { machine } = guest;
  machine.runTo(machine.tick + ticks / 10);
  const start = process.cpuUsage();
  const from = machine.tick;
  machine.runTo(from + ticks);
  const { user, system } = process.cpuUsage(start);
  return (machine.tick - from) / (user + system);
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;

if (import.meta.main) {
  const [millions = '30'] = commandLine({ allowPositionals: true }).positionals;
  const ticks = amountOf(millions, 'million ticks') * 1e6;
  const speeds = Object.keys(LOOPS).map((name) => [name, [] as number[]] as const);
  for (let run = 0; run < RUNS; run++) for (const [name, list] of speeds) list.push(speed(LOOPS[name]!, ticks));
  const straight = median(speeds[0]![1]);
  console.log('loop          M ticks/s   of straight');
  for (const [name, list] of speeds) {
    const its = median(list);
    console.log(`${name.padEnd(12)} ${its.toFixed(1).padStart(10)}   1/${(straight / its).toFixed(1)}`);
  }
}
