/** Random programs for {@link Scenario}: functions of nested loops, branches, calls and jump tables, called in turn for ever. */
import type { CodeMode, CpuPolicy } from '../../../src/x86/form.ts';
import type { Random } from '../random.ts';
import { ALIAS, CODE, CODE_PAGES, CONTROLS, COUNTERS, DATA, DATA_PAGES, JUMPS, TABLES } from './places.ts';
import { type Addressing, encode, namesStackPointer, type Pool, poolOf, type Source } from './pool.ts';
import type { Scenario, Unit } from './scenario.ts';

const SIZE = CODE_PAGES * 4096;
const DEPTH = 4;
/** Registers that get addresses: not rSP. */
const POINTERS = [0, 1, 2, 3, 5, 6, 7];
const NOP = 0x90;

const le = (value: number, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => Math.floor(value / 2 ** (8 * i)) & 255);

class ProgramWriter {
  readonly code = new Uint8Array(SIZE).fill(NOP);
  readonly units: Unit[] = [];
  readonly entries: number[] = [];
  readonly jumps: Array<{ slot: number; offset: number }> = [];
  at = 0;
  #counters = 0;
  readonly #pool: Pool;
  readonly #mode: CodeMode;
  readonly #codeBase: number;
  readonly #cpl: number;
  readonly #random: Random;
  readonly #favourites: readonly Source[];
  #end = SIZE;
  /** Nothing but computing, memory and control flow. */
  readonly #calm: boolean;

  constructor(mode: CodeMode, policy: CpuPolicy, cpl: number, codeBase: number, random: Random) {
    this.#pool = poolOf(mode, policy);
    this.#mode = mode;
    this.#codeBase = codeBase;
    this.#cpl = cpl;
    this.#random = random;
    this.#calm = random() % 2 === 0;
    // a program comes back to some forms, so that they meet in many ways
    this.#favourites = Array.from({ length: 12 }, () => this.#pick(this.#pool.plain));
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#random() % items.length]!;
  }
  #below(count: number): number {
    return this.#random() % count;
  }
  #emit(bytes: ArrayLike<number>): void {
    this.code.set(bytes, this.at);
    this.at += bytes.length;
  }
  #unit(bytes: ArrayLike<number>): void {
    if (this.at + bytes.length > this.#end) return;
    this.units.push({ offset: this.at, length: bytes.length });
    this.#emit(bytes);
  }
  get #full(): boolean {
    return this.at > this.#end - 200;
  }

  // ---- addresses ----------------------------------------------------------------------------------------------------

  /** An address in the data pages, often one that other instructions use too. */
  #dataAddress(width: number): number {
    if (this.#below(40) === 0) return DATA + DATA_PAGES * 4096 - 1 - this.#below(Math.max(2, width));
    const page = DATA + this.#below(DATA_PAGES - 1) * 4096;
    const way = this.#below(12);
    let address = page + this.#below(4080);
    if (way < 2) address = page + 4096 - 1 - this.#below(Math.max(2, width));
    else if (way < 7) address = page + 64 + this.#below(8) * 16;
    return width === 16 && this.#below(8) ? address & ~15 : address;
  }
  #codeAddress(): number {
    const back = this.#below(3) === 0 ? this.#below(SIZE) : Math.max(0, this.at - 60 + this.#below(120));
    const address = (this.#below(3) === 0 ? ALIAS : CODE) + back;
    return Math.min(address, (address >= ALIAS ? ALIAS : CODE) + SIZE - 8);
  }
  /** `op` (bytes before ModRM) with extension or register `reg` and an absolute address. */
  #absolute(op: readonly number[], reg: number, address: number): number[] {
    return this.#mode === 2
      ? [...op, (reg << 3) | 4, 0x25, ...le(address, 4)]
      : [...op, (reg << 3) | 5, ...le(address, 4)];
  }
  /** mov r, imm32. */
  #load(register: number, value: number): number[] {
    return [0xb8 + register, ...le(value, 4)];
  }
  #ripOf(offset: number): number {
    return (CODE + offset - this.#codeBase) >>> 0;
  }

  // ---- instructions -------------------------------------------------------------------------------------------------

  /** An instruction of a random form that goes on to the next one; `base` is a register that holds a data address. */
  #plain(base: number | null = null): void {
    for (let attempt = 0; attempt < 20; attempt++) {
      const source = this.#below(3) === 0 ? this.#pick(this.#favourites) : this.#pick(this.#pool.plain);
      if (source.transfers && this.#below(60)) continue;
      if (source.writesStackPointer && this.#below(12)) continue;
      let addressing: Addressing = { kind: 'wild' };
      if (source.memory) {
        const way = this.#below(20);
        const address = this.#dataAddress(source.width);
        if (base !== null && way < 17)
          addressing = { kind: 'base', register: base, disp: [0, 8, 16, 4, 1, 0x80, -8, 32][this.#below(8)]! };
        else if (base === null && way < 13) addressing = { kind: 'absolute', address };
        else if (way < 19 && this.#mode === 2) addressing = { kind: 'relative', address, at: CODE + this.at };
        else if (way < 19) addressing = { kind: 'absolute', address };
      }
      const bytes = encode(source, addressing, this.#random, this.#pool);
      if (bytes === null) continue;
      if (this.#below(30) && namesStackPointer(bytes, this.#pool)) continue;
      this.#unit(bytes);
      return;
    }
  }
  /** A register gets a data address, some instructions use it. */
  #group(): void {
    const base = this.#pick(POINTERS);
    this.#unit(this.#load(base, this.#dataAddress(16) & ~15));
    for (let i = 1 + this.#below(5); i > 0; i--) this.#plain(base);
  }
  /** Accesses to a table, with or without a base, by an index that has been cut or that a comparison bounds. */
  #indexed(): void {
    const [index, other] = this.#below(2) ? [0, 1] : [2, 3];
    const base = this.#below(3) === 0 ? null : this.#pick([5, 6, 7]);
    const table = Math.min(this.#dataAddress(8), DATA + (DATA_PAGES - 2) * 4096 + 1024) & ~7;
    const scale = this.#below(4);
    const access = (): number[] => {
      const op = this.#pick([[0x8b], [0x89], [0x33], [0x01], [0x88], [0x0f, 0xb6], [0x0f, 0x6f], [0x83]]);
      const wide = this.#mode === 2 && this.#below(2) === 0 ? [0x48] : [];
      const immediate = op[0] === 0x83 ? [this.#random() & 127] : [];
      const sib = (scale << 6) | (index << 3) | (base ?? 5);
      const place =
        base === null ? [4 | (other << 3), sib, ...le(table, 4)] : [0x44 | (other << 3), sib, this.#below(8) * 8];
      return [...wide, ...op, ...place, ...immediate];
    };
    const and = (mask: number): number[] => [0x81, 0xe0 | index, ...le(mask, 4)]; // and r32, imm32
    if (base !== null) this.#unit(this.#load(base, table));
    for (let i = 1 + this.#below(3); i > 0; i--) {
      const most = [7, 63, 255][this.#below(3)]!;
      switch (this.#below(3)) {
        case 0:
          this.#unit([0x0f, 0xb6, 0xc0 | (index << 3) | index]); // movzx r32, r8
          break;
        case 1:
          this.#unit(and(most));
          break;
        case 2: {
          // cmp; ja or jbe over accesses, whose index may be cut once more
          const again = this.#below(2) ? and(most >> 1) : [];
          const bytes = [...again, ...access(), ...access()];
          const compare = [0x81, 0xf8 | index, ...le(most, 4)];
          this.#unit([...and(most * 4 + 3), ...compare, 0x76 + this.#below(2), bytes.length, ...bytes]);
          continue;
        }
      }
      for (let j = 1 + this.#below(2); j > 0; j--) this.#unit(access());
    }
  }
  #string(): void {
    const source = this.#pick(
      this.#pool.plain.filter(({ form }) => form.rep > 0 || /^(movs|stos|lods|cmps|scas)/.test(form.name)),
    );
    const bytes = encode(source, { kind: 'wild' }, this.#random, this.#pool);
    if (bytes === null) return;
    const set = [
      ...this.#load(6, this.#dataAddress(8)),
      ...this.#load(7, this.#below(12) === 0 ? this.#codeAddress() : this.#dataAddress(8)),
      ...this.#load(1, [0, 1, 2, 7, 40, 3000][this.#below(6)]!),
    ];
    if (this.#below(3) === 0) set.push(0xfc + this.#below(2));
    this.#unit([...set, ...bytes]);
  }
  #system(): void {
    const source = this.#pick(this.#pool.system);
    // most of those that end a program's run are of no use
    if (/^(hlt|jmp_far|call_far|retf|iret|sysret|sysexit|syscall|sysenter)/.test(source.form.name) && this.#below(8))
      return;
    if (/^(mov_to_cr|lmsw|mov_to_sreg|lgdt|lldt|ltr)/.test(source.form.name) && this.#below(3)) return;
    const address = this.#dataAddress(16) & ~15;
    const bytes = encode(
      source,
      source.memory ? { kind: 'absolute', address } : { kind: 'wild' },
      this.#random,
      this.#pool,
    );
    if (bytes !== null) this.#unit(bytes);
  }
  /** x87 and SSE control, the stack, flags and such: what a random form seldom gets right. */
  #special(): void {
    const w = this.#mode === 2 ? [0x48] : [];
    switch (this.#below(11)) {
      case 0:
        this.#unit(this.#absolute([0x0f, 0xae], 2, CONTROLS + this.#below(16) * 4)); // ldmxcsr
        return;
      case 1:
        this.#unit(this.#absolute([0xd9], 5, CONTROLS + 0x80 + this.#below(16) * 4)); // fldcw
        return;
      case 2: {
        const r = this.#pick(POINTERS);
        this.#unit([0x50 + r]);
        this.#items(0, 2);
        this.#unit([0x58 + this.#pick(POINTERS)]);
        return;
      }
      case 3:
        this.#unit([0x9c]); // pushf
        this.#items(0, 2);
        this.#unit([0x9d]);
        return;
      case 4:
        if (this.#cpl === 0) this.#unit([0xfb]); // sti
        return;
      case 5:
        if (this.#cpl === 0) this.#unit([0x31, 0xc0, 0x8e, 0xd0]); // xor eax, eax; mov ss, eax
        return;
      case 6: {
        // TF for the next instructions: pushf; or [rsp], 0x100; popf
        this.#unit([0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d]);
        return;
      }
      case 7:
        this.#unit([...w, 0x83, 0xec, 0x20]); // sub rsp, 32
        this.#items(0, 2);
        this.#unit([...w, 0x83, 0xc4, 0x20]);
        return;
      case 8:
        this.#unit([0xd9, [0xe8, 0xeb, 0xee, 0xc0, 0xc9][this.#below(5)]!]);
        this.#unit([[0xd8, 0xdc, 0xde][this.#below(3)]!, 0xc1 | (this.#below(8) << 3)]);
        return;
      case 9:
        this.#unit([0x0f, 0x77]); // emms
        return;
      case 10:
        this.#unit([[0xf8, 0xf9, 0xfc, 0xfc, 0xfd, 0xf5][this.#below(6)]!]);
    }
  }

  // ---- stores to code and tables ------------------------------------------------------------------------------------

  #modifyCode(): void {
    const address = this.#codeAddress();
    switch (this.#below(7)) {
      case 0:
        this.#unit([...this.#absolute([0xc6], 0, address), this.#random() & 255]); // mov byte [m], imm8
        return;
      case 1:
        this.#unit(this.#absolute([0xfe], this.#below(2), address)); // inc/dec byte [m]
        return;
      case 2:
        this.#unit([...this.#absolute([0x80], 6, address), 1 << this.#below(8)]); // xor byte [m], imm8
        return;
      case 3: {
        // a unit that exists is written as it is: code that does not change
        const known = this.units[this.#below(Math.max(1, this.units.length))];
        if (!known) return;
        const offset = known.offset + this.#below(known.length);
        this.#unit([...this.#absolute([0xc6], 0, CODE + offset), this.code[offset]!]);
        return;
      }
      case 4: {
        // an immediate that is its own counter: add byte [rip-5 + ...], 1 on the instruction before
        const target = this.at;
        this.#unit([0x04, this.#random() & 127]); // add al, imm8
        this.#unit([...this.#absolute([0x80], 0, CODE + target + 1), 1]);
        return;
      }
      case 5: {
        // the next instruction's immediate
        const store = this.#absolute([0xfe], 0, 0);
        this.#unit([...this.#absolute([0xfe], 0, CODE + this.at + store.length + 1), 0x34, this.#random() & 127]);
        return;
      }
      case 6:
        // eight bytes, perhaps over a page's end
        if (this.#mode === 2) this.#unit(this.#absolute([0x48, 0x31], this.#pick(POINTERS), address));
        else this.#unit(this.#absolute([0x31], this.#pick(POINTERS), address));
    }
  }
  /** Changes a page-table entry: of data or code, by a bit or to another frame (FRAMES in machine.ts). */
  #modifyEntry(): void {
    const code = this.#below(4) === 0;
    const page = this.#below(code ? CODE_PAGES : DATA_PAGES - 1);
    const entry = TABLES + (code ? 0x1000 : 0) + page * 8;
    const w = this.#mode === 2 ? [0x48] : [];
    switch (this.#below(9)) {
      case 0:
        this.#unit([...this.#absolute([0x80], 4, entry), 0xff & ~0x60]); // and byte [m], ~(A | D)
        return;
      case 1:
        this.#unit([...this.#absolute([0x80], 4, entry), 0xff & ~0x40]);
        return;
      case 2:
        if (!code) this.#unit([...this.#absolute([0x80], 6, entry), 2]); // xor byte [m], W
        return;
      case 3:
        if (!code) this.#unit([...this.#absolute([0x80], 6, entry), 1]); // xor byte [m], P
        return;
      case 4:
      case 5:
        // to the other frame of the page and back: frames of a pair differ in one bit
        this.#unit([...this.#absolute([...w, 0x81], 6, entry), ...le(code ? 0x4000 : 0x10_000, 4)]);
        return;
      case 6:
        this.#unit([...this.#absolute([0x80], 6, entry + 7), 0x80]); // NX
        return;
      case 7:
        this.#unit(this.#absolute([0x8b], this.#pick(POINTERS), entry)); // looks at A and D
        return;
      case 8:
        // the directory above, which maps the table itself
        this.#unit([...this.#absolute([0x80], 4, TABLES + 0x2000 + (code ? 2 : 4) * 8), 0xff & ~0x20]);
    }
    if (this.#below(4) === 0 && this.#cpl === 0) this.#unit(this.#absolute([0x0f, 0x01], 7, DATA + page * 4096)); // invlpg
  }

  // ---- control flow -------------------------------------------------------------------------------------------------

  #patch(at: number, bytes: number, target: number): void {
    this.code.set(le(target - at - bytes, bytes), at);
  }
  #branchOver(depth: number): void {
    const short = this.#below(2) === 0 && depth < 1;
    const cc = this.#below(16);
    const at = this.at;
    this.#unit(short ? [0x70 | cc, 0] : [0x0f, 0x80 | cc, 0, 0, 0, 0]);
    if (this.at === at) return;
    const field = this.at - (short ? 1 : 4);
    if (short) for (let i = 1 + this.#below(2); i > 0; i--) this.#plain();
    else this.#items(depth + 1, 3);
    if (short && this.at - field - 1 > 127) this.at = field + 100;
    this.#patch(field, short ? 1 : 4, this.at);
  }
  #loop(depth: number): void {
    const counter = COUNTERS + this.#counters++ * 4;
    const times = 1 + this.#below(depth > 1 ? 6 : 40);
    this.#unit([...this.#absolute([0xc7], 0, counter), ...le(times, 4)]);
    const top = this.at;
    this.#items(depth + 1, 5);
    // sub dword [counter], 1; jnz top (or a loop by a register that anything may change)
    const close = this.#absolute([0x83], 5, counter);
    const at = this.at;
    this.#unit([...close, 1, 0x0f, 0x85, 0, 0, 0, 0]);
    if (this.at !== at) this.#patch(this.at - 4, 4, top);
  }
  #call(): void {
    const targets = this.entries;
    if (targets.length === 0) return;
    const target = this.#pick(targets);
    switch (this.#below(this.jumps.length > 200 ? 1 : 4)) {
      case 0: {
        const r = this.#pick(POINTERS);
        this.#unit([...this.#load(r, this.#ripOf(target)), 0xff, 0xd0 | r]);
        return;
      }
      case 1: {
        const slot = this.#jumpSlot(target);
        this.#unit(this.#absolute([0xff], 2, slot));
        return;
      }
      default: {
        const at = this.at;
        this.#unit([0xe8, 0, 0, 0, 0]);
        if (this.at !== at) this.#patch(this.at - 4, 4, target);
      }
    }
  }
  #jumpSlot(offset: number): number {
    const slot = this.jumps.length;
    this.jumps.push({ slot, offset });
    return JUMPS + slot * 8;
  }
  /** jmp [table + counter * 8] to one of four places that meet again. */
  #table(depth: number): void {
    if (this.jumps.length > 200) return;
    const counter = COUNTERS + 4 * this.#below(Math.max(1, this.#counters));
    const r = this.#pick([0, 1, 2, 3]);
    const at = this.at;
    const slots = this.jumps.length;
    const table = JUMPS + slots * 8;
    const scaled = [0xff, 0x24, 0xc5 | (r << 3), ...le(table, 4)];
    this.#unit([...this.#absolute([0x8b], r, counter), 0x83, 0xe0 | r, 3, ...scaled]);
    if (this.at === at) return;
    const ends: number[] = [];
    for (let i = 0; i < 4; i++) {
      this.jumps.push({ slot: slots + i, offset: this.at });
      this.#items(depth + 2, 2);
      const jump = this.at;
      this.#unit([0xe9, 0, 0, 0, 0]);
      if (this.at !== jump) ends.push(this.at - 4);
    }
    for (const end of ends) this.#patch(end, 4, this.at);
  }

  #items(depth: number, most: number): void {
    for (let i = 1 + this.#below(most); i > 0 && !this.#full; i--) {
      const way = this.#below(100);
      if (way < 50) this.#plain();
      else if (way < 58) this.#group();
      else if (way < 62) this.#indexed();
      else if (way < 72) {
        if (depth < DEPTH) this.#branchOver(depth);
      } else if (way < 81) {
        if (depth < DEPTH) this.#loop(depth);
      } else if (way < 84) this.#call();
      else if (way < 86) {
        if (depth < DEPTH) this.#table(depth);
      } else if (this.#calm && this.#below(20)) this.#plain();
      else if (way < 88) this.#modifyCode();
      else if (way < 91) this.#modifyEntry();
      else if (way < 94) this.#string();
      else if (way < 96) this.#system();
      else this.#special();
    }
  }

  // ---- whole --------------------------------------------------------------------------------------------------------

  write(): void {
    const functions = 3 + this.#below(14);
    const room = Math.floor((SIZE - 256) / functions);
    this.at = 256;
    for (let i = 0; i < functions; i++) {
      this.at = Math.max(this.at, 256 + i * room + this.#below(60));
      this.#end = 256 + (i + 1) * room;
      if (this.#full) continue;
      this.entries.push(this.at);
      this.#loop(0);
      if (this.#below(2)) this.#items(0, 6);
      this.#end = SIZE;
      this.#emit([0xc3]);
    }
    // the handler of interrupts: something, then back with the flags
    const handler = this.at;
    this.#end = SIZE;
    if (!this.#full) {
      this.#items(3, 3);
      this.#emit([0x9d, 0xc3]);
      this.jumps.push({ slot: 255, offset: handler });
    }
    this.at = 0;
    for (const entry of this.entries) {
      this.#emit([0xe8, 0, 0, 0, 0]);
      this.#patch(this.at - 4, 4, entry);
    }
    this.#emit([0xe9, ...le(-this.at - 5, 4)]);
    this.entries.unshift(0);
  }
}

/** The program part of a scenario. */
export function writeProgram(
  mode: CodeMode,
  policy: CpuPolicy,
  cpl: number,
  codeBase: number,
  random: Random,
): Pick<Scenario, 'code' | 'units' | 'entries' | 'jumps'> {
  const writer = new ProgramWriter(mode, policy, cpl, codeBase, random);
  writer.write();
  const { code, units, entries, jumps } = writer;
  return { code, units, entries, jumps };
}
