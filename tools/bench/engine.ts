/** Micro benchmark of a tier: MIPS on small loops. `node tools/run.mjs bench/engine [million steps] [cold|hot]`. */
import { CODE, DATA, TestMachine } from '../../test/engine/machine.ts';
import { amountOf, commandLine, oneOf } from '../command-line.ts';

const LOOPS: Record<string, string> = {
  // 1: add rax, rbx; xor rcx, rax; lea rdx, [rax + rcx*2 + 8]; sub rsi, 1; jnz 1
  alu: '48 01 d8  48 31 c1  48 8d 54 48 08  48 83 ee 01  75 ef',
  // 1: mov eax, ecx; and eax, 3; je 2; cmp eax, 2; jb 3; add rdx, 1; 2: inc ecx; jmp 1; 3: dec rdx; inc ecx; jmp 1
  branchy: '89 c8  83 e0 03  74 09  83 f8 02  72 08  48 83 c2 01  ff c1  eb ec  48 ff ca  ff c1  eb e5',
  // 1: mov rdi, [rdi]; dec rsi; jnz 1
  chase: '48 8b 3f  48 ff ce  75 f8',
  // 1: mov [rdi], rax; add rdi, 8; add rax, [rdi - 8]; cmp rdi, r8; jb 1; mov rdi, r9; jmp 1
  memory: '48 89 07  48 83 c7 08  48 03 47 f8  4c 39 c7  72 f0  4c 89 cf  eb eb',
  // 1: call 2; dec rsi; jnz 1; 2: push rbx; pop rbx; ret
  call: 'e8 05 00 00 00  48 ff ce  75 f6  53  5b  c3',
  // 1: mov rdi, r9; mov ecx, 4096; rep stosb; jmp 1
  rep: '4c 89 cf  b9 00 10 00 00  f3 aa  eb f4',
};

const [millions = '100', tierName = 'hot'] = commandLine({ allowPositionals: true }).positionals;
const steps = amountOf(millions, 'million steps') * 1e6;
const tier = oneOf(tierName, 'tier', ['hot', 'cold']);
for (const [name, hex] of Object.entries(LOOPS)) {
  const m = new TestMachine({ tier });
  m.code(hex);
  m.mapNew(DATA, 512);
  for (let i = 0; i < 512 * 512; i++) {
    // a walk over 2 MiB that changes page every time
    const next = (i * 577 + 1234) % (512 * 512);
    m.memory.write64(m.pa(DATA + BigInt(i >> 9) * 4096n) + (i & 511) * 8, DATA + BigInt(next) * 8n);
  }
  m.set('rdi', DATA);
  m.set('r9', DATA);
  m.set('r8', DATA + 4096n * 16n);
  m.set('rsi', -1n & 0xffffffffffffffffn);
  m.cpu.rip = CODE;
  const warm = m.run(20e6);
  const start = process.cpuUsage();
  const exit = m.run(steps);
  const used = process.cpuUsage(start);
  const seconds = (used.user + used.system) / 1e6;
  const note =
    exit.kind === 'budget' && warm.kind === 'budget'
      ? ''
      : ` (${JSON.stringify(m.platform.deliveries, (_, v) => (typeof v === 'bigint' ? v.toString(16) : v))})`;
  console.log(`${name.padEnd(8)} ${(exit.steps / seconds / 1e6).toFixed(1).padStart(7)} MIPS${note}`);
}
