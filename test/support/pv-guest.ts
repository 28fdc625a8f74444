/**
 * A PV guest whose program the test writes one instruction at a time, on the whole machine: real loader, engine, hypervisor.
 * Hypercalls are SYSCALL instructions that the guest kernel executes.
 */
import { expect } from 'vitest';
import { DEFAULT_EPOCH_SECONDS, type MachineConfig } from '../../src/machine/config.ts';
import type { InputDoor } from '../../src/machine/inputs.ts';
import type { RunEnd } from '../../src/machine/machine.ts';
import { buildPvMachine, type PvMachine } from '../../src/machine/xen-pv/build.ts';
import type { Cpu } from '../../src/x86/cpu.ts';
import type { CpuPolicy } from '../../src/x86/form.ts';
import type { Verdict } from '../../src/x86/seam.ts';
import { GPR, SEG } from '../../src/x86/state.ts';
import type { HypercallEvent, XenPv } from '../../src/xen/pv/pv.ts';
import { buildElf, concat, le, pvNotes, xenNote } from './elf.ts';

const VIRT_BASE = 0xffffffff80000000n;
const KERNEL = VIRT_BASE + 0x100000n;
/** Where the test's instructions go. */
export const CODE = KERNEL;
export const HYPERCALL_PAGE = KERNEL + 0x1000n;
/** Where `hypercall` executes its SYSCALL. */
const CALL_SITE = KERNEL + 0x2000n;
/** Top of the guest kernel's stack. */
export const STACK = KERNEL + 0x5000n;
/** Writable pages of the guest, 32 of them, zero. */
export const DATA = KERNEL + 0x10000n;
const IMAGE_PAGES = 0x30;
/** Handlers the test registers: any addresses in the image, a different one for each purpose. */
export const HANDLER = KERNEL + 0x3000n;
/** The user mode the guest makes for itself. */
export const USER_CODE = 0x400000n;
export const USER_STACK = USER_CODE + 0x1800n;

export const SELF = 0x7ff0n;
/** SYSCALL, and a jump to itself behind it. */
const CALL = Uint8Array.of(0x0f, 0x05, 0xeb, 0xfe);
const MASK64 = (1n << 64n) - 1n;

/** Bytes of hexadecimal text; spaces do not matter. */
export const hexBytes = (text: string): Uint8Array =>
  Uint8Array.from(text.match(/[0-9a-f]{2}/gi) ?? [], (h) => Number(`0x${h}`));
/** Words of 8 bytes. */
export const words = (...values: readonly (bigint | number)[]): Uint8Array =>
  concat(...values.map((v) => le(BigInt(v) & MASK64, 8)));

function image(): Uint8Array {
  return buildElf({
    entry: KERNEL,
    segments: [
      { vaddr: KERNEL, paddr: 0x100000n, content: Uint8Array.of(0xf4), memsz: IMAGE_PAGES * 4096 },
      { type: 4, content: pvNotes(VIRT_BASE, KERNEL, xenNote(2, HYPERCALL_PAGE)) },
    ],
  });
}

export interface PvGuestOptions {
  readonly door?: InputDoor;
  readonly tscKhz?: number;
  readonly tier?: 'cold' | 'oracle';
  readonly policy?: CpuPolicy;
  /** Whether anybody listens to what happens; so unless told otherwise. */
  readonly watched?: boolean;
}

/** The configuration of a guest's machine. */
export const imageConfig = (options: PvGuestOptions = {}): MachineConfig => ({
  platform: 'xen-pv',
  images: { kernel: image() },
  commandLine: 'test',
  memoryBytes: 8 << 20,
  vcpus: 1,
  cpuPolicy: options.policy ?? 'x86-64-v1',
  tscKhz: options.tscKhz ?? 1_000_000,
  epochSeconds: DEFAULT_EPOCH_SECONDS,
});

export class PvGuest {
  readonly machine: PvMachine['machine'];
  readonly xen: XenPv;
  readonly console: PvMachine['console'];
  readonly xenstore: PvMachine['xenstore'];
  readonly cpu: Cpu;
  readonly log: string[] = [];
  readonly calls: HypercallEvent[] = [];
  readonly traps: { vector: number; error: number; address: bigint; rip: bigint }[] = [];
  upcalls = 0;
  output = '';
  /** Address of start_info. */
  readonly startInfo: bigint;
  #allocated = DATA + 0x10000n;

  constructor(options: PvGuestOptions = {}) {
    const { machine, xen, console, xenstore } = buildPvMachine(imageConfig(options), {
      engine: { tier: options.tier ?? 'cold' },
    });
    if (options.watched ?? true) {
      xen.stream.on('hypercall', (event) => this.calls.push(event));
      xen.stream.on('trap', (event) => this.traps.push(event));
      xen.stream.on('upcall', () => this.upcalls++);
      xen.stream.on('log', ({ line }) => this.log.push(line));
    }
    this.machine = machine;
    this.xen = xen;
    this.console = console;
    this.xenstore = xenstore;
    this.cpu = machine.cpu;
    if (options.door) machine.door = options.door;
    console.onOutput = (bytes) => {
      this.output += Buffer.from(bytes).toString('latin1');
    };
    this.startInfo = this.cpu.gpr(GPR.rsi);
    this.cpu.rsp = STACK;
    this.write(CALL_SITE, CALL);
  }

  // ---- memory ---------------------------------------------------------------------------------------------------------

  /** Machine address of a virtual one, by the vCPU's present tables. */
  pa(address: bigint): number {
    const pa = this.xen.mmu.translate(this.cpu, address);
    if (pa === null) throw new Error(`0x${address.toString(16)} is not mapped`);
    return pa;
  }
  mfn(address: bigint): number {
    return Math.floor(this.pa(address) / 4096);
  }
  read(address: bigint, length: number): Uint8Array {
    return this.xen.memory.readBytes(this.pa(address), length);
  }
  write(address: bigint, bytes: Uint8Array): void {
    this.xen.memory.writeBytes(this.pa(address), bytes);
  }
  u8(address: bigint): number {
    return this.xen.memory.read8(this.pa(address));
  }
  u32(address: bigint): number {
    return this.xen.memory.read32(this.pa(address));
  }
  u64(address: bigint): bigint {
    return this.xen.memory.read64(this.pa(address));
  }
  /** `count` words from `address` on. */
  quads(address: bigint, count: number): bigint[] {
    return Array.from({ length: count }, (_, i) => this.u64(address + BigInt(i * 8)));
  }
  /** Puts `bytes` somewhere, on a 16-byte boundary of one page; the address. */
  put(bytes: Uint8Array): bigint {
    const room = 4096n - (this.#allocated & 4095n);
    if (BigInt(bytes.length) > room) this.#allocated += room;
    const at = this.#allocated;
    this.#allocated += BigInt((bytes.length + 15) & ~15);
    this.write(at, bytes);
    return at;
  }
  /** A page of the guest's own, mapped writable. */
  page(index: number): bigint {
    return DATA + BigInt(index) * 4096n;
  }
  /** Machine frame of a start_info field. */
  startInfoWord(offset: number): bigint {
    return this.u64(this.startInfo + BigInt(offset));
  }
  /** A byte of vCPU 0's vcpu_info. */
  info(offset: number): number {
    return this.xen.memory.read8(this.xen.vcpus[0]!.infoAddress + offset);
  }
  setInfo(offset: number, value: number): void {
    this.xen.memory.write8(this.xen.vcpus[0]!.infoAddress + offset, value);
  }
  shared64(offset: number): bigint {
    return this.xen.memory.read64(this.xen.sharedInfo + offset);
  }

  // ---- running ----------------------------------------------------------------------------------------------------------

  /** Takes `ticks` steps, none of which may end the run. */
  step(ticks = 1): RunEnd {
    const end = this.machine.runTo(this.machine.tick + ticks);
    if (end.kind === 'stop') throw new Error(`the run ended: ${end.stop.verdict.message}\n${this.log.join('\n')}`);
    return end;
  }
  /** The verdict that the next `ticks` steps end with. */
  stopped(ticks = 1): Verdict {
    const end = this.machine.runTo(this.machine.tick + ticks);
    if (end.kind !== 'stop') throw new Error(`the run did not end: ${end.kind}`);
    return end.stop.verdict;
  }
  /** Points the vCPU at the bytes of an instruction, without running it. */
  at(code: string, address = CODE): void {
    this.write(address, hexBytes(code));
    this.cpu.rip = address;
  }
  /** Executes one instruction: one step. */
  exec(code: string, address = CODE): void {
    this.at(code, address);
    this.step();
  }
  /** Sets registers by name. */
  set(values: Partial<Record<keyof typeof GPR, bigint | number>>): void {
    for (const [name, value] of Object.entries(values))
      this.cpu.setGpr(GPR[name as keyof typeof GPR], BigInt(value!) & MASK64);
  }
  get(name: keyof typeof GPR): bigint {
    return this.cpu.gpr(GPR[name]);
  }
  /** Makes the guest kernel ready to execute a hypercall's SYSCALL. */
  prepare(op: number, ...args: readonly (bigint | number)[]): void {
    const registers = ['rdi', 'rsi', 'rdx', 'r10', 'r8', 'r9'] as const;
    this.set({ rax: op });
    registers.forEach((name, i) => {
      this.set({ [name]: args[i] ?? 0 });
    });
    this.cpu.rip = CALL_SITE;
  }
  /** Executes a hypercall; its result, signed. */
  call(op: number, ...args: readonly (bigint | number)[]): number {
    this.prepare(op, ...args);
    this.step();
    return Number(BigInt.asIntN(64, this.get('rax')));
  }
  /** Executes a hypercall that must succeed. */
  ok(op: number, ...args: readonly (bigint | number)[]): void {
    expect(this.call(op, ...args), `hypercall ${op}`).toBe(0);
  }
  /** Registers handlers by vector; flags: bits 0 and 1 the privilege of INT, bit 2 masks events. */
  handle(table: Readonly<Record<number, { at: bigint; flags?: number }>>): void {
    const entries = Object.entries(table).map(([vector, { at, flags = 0 }]) =>
      concat(le(Number(vector), 1), le(flags, 1), le(0xe033, 2), le(0, 4), le(at, 8)),
    );
    this.ok(0, this.put(concat(...entries, new Uint8Array(16))));
  }
  /** Event, failsafe and syscall callbacks. */
  callbacks(event: bigint, syscall = 0n): void {
    this.ok(4, event, 0n, syscall);
  }
  /** State of the segment base and selector the tests look at. */
  base(segment: 'fs' | 'gs'): bigint {
    return this.cpu.get('segmentBase', SEG[segment]);
  }

  // ---- user mode --------------------------------------------------------------------------------------------------------

  /** An L4 of its own for user mode with one code and one stack page; pinned and installed. */
  makeUserSpace(): void {
    const [l4, l3, l2, l1, code, stack] = [0, 1, 2, 3, 4, 5].map((i) => this.page(i)) as [
      bigint,
      bigint,
      bigint,
      bigint,
      bigint,
      bigint,
    ];
    const entry = (page: bigint): bigint => BigInt(this.mfn(page)) * 4096n + 0x27n;
    const index = (level: number): bigint => (USER_CODE >> BigInt(3 + 9 * level)) & 511n;
    this.write(l4 + index(4) * 8n, words(entry(l3)));
    this.write(l3 + index(3) * 8n, words(entry(l2)));
    this.write(l2 + index(2) * 8n, words(entry(l1)));
    this.write(l1 + index(1) * 8n, words(entry(code), entry(stack)));
    for (const page of [l4, l3, l2, l1]) this.readOnly(page);
    this.mmuext(3, this.mfn(l4));
    this.mmuext(15, this.mfn(l4));
  }
  /** Puts bytes where user mode executes or pushes. */
  writeUser(address: bigint, bytes: Uint8Array): void {
    const page = this.page(address < USER_CODE + 0x1000n ? 4 : 5);
    this.write(page + (address & 0xfffn), bytes);
  }
  /** Goes to user mode by the iret hypercall. */
  enterUser(
    options: { code?: string; rip?: bigint; rflags?: number; cs?: number; ss?: number; flags?: number } = {},
  ): RunEnd {
    const { code, rip = USER_CODE, rflags = 0x202, cs = 0xe033, ss = 0xe02b, flags = 0 } = options;
    if (code) this.writeUser(rip, hexBytes(code));
    this.iretFrame([0xaaa, 0xb11, 0xccc, flags, rip, cs, rflags, USER_STACK, ss]);
    return this.step();
  }
  /** Prepares the iret hypercall with {rax r11 rcx flags rip cs rflags rsp ss} on the kernel's stack. */
  iretFrame(frame: readonly (bigint | number)[]): void {
    this.prepare(23);
    this.cpu.rsp = STACK - 0x200n;
    this.write(this.cpu.rsp, words(...frame));
  }

  // ---- page tables ------------------------------------------------------------------------------------------------------

  /** Makes a mapping read-only by update_va_mapping. */
  readOnly(page: bigint): void {
    this.ok(14, page, BigInt(this.mfn(page)) * 4096n + 0x25n, 2);
  }
  /** mmuext_op with one operation; 0 expected. */
  mmuext(cmd: number, arg1: bigint | number, arg2: bigint | number = 0): void {
    expect(this.tryMmuext(cmd, arg1, arg2), `mmuext ${cmd}`).toBe(0);
  }
  tryMmuext(cmd: number, arg1: bigint | number, arg2: bigint | number = 0): number {
    return this.call(26, this.put(words(cmd, arg1, arg2)), 1, 0, SELF);
  }

  // ---- event channels -----------------------------------------------------------------------------------------------------

  /** event_channel_op with an argument of 32-bit words; result and the words afterwards. */
  event(cmd: number, ...args: readonly number[]): { rc: number; words: number[] } {
    const at = this.put(concat(...args.map((word) => le(word, 4)), new Uint8Array(24)));
    const rc = this.call(32, cmd, at);
    return { rc, words: [0, 1, 2, 3, 4, 5].map((i) => this.u32(at + BigInt(i * 4))) };
  }
  /** A new IPI channel of vCPU 0. */
  bindIpi(): number {
    const { rc, words: out } = this.event(7, 0);
    expect(rc).toBe(0);
    return out[1]!;
  }
  /** Binds VIRQ_TIMER. */
  bindTimer(): number {
    const { rc, words: out } = this.event(1, 0, 0);
    expect(rc).toBe(0);
    return out[2]!;
  }
}
