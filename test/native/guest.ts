/**
 * A case's address space and state in our own machine: page tables that map what oracle.h describes, a vCPU at CPL 3, and the
 * outcome read back. Knows no engine.
 */
import type { MachineFrame } from '../../src/core/units.ts';
import type { GuestMemory } from '../../src/memory/guest-memory.ts';
import type { Cpu } from '../../src/x86/cpu.ts';
import type { Fault } from '../../src/x86/seam.ts';
import { SEG, VECTOR } from '../../src/x86/state.ts';
import { fillPage } from './random.ts';
import {
  CASE_STEP,
  type CaseRecord,
  CHANGES_MAX,
  CODE_BASE,
  DATA_BASE,
  FX,
  isSegmented,
  MODE_64,
  MODE_PROT16,
  type OutcomeRecord,
  PAGE,
  RO_BASE,
  RO_SEED,
  VECTOR_NONE,
} from './records.ts';
import { codeBase, loadedSegment } from './segments.ts';

/** Frames of the guest: four table levels (two leaf tables), then the pages, then the directory pointers of PAE paging. */
const FRAME = {
  pml4: 0,
  pdpt: 1,
  pd: 2,
  codeTable: 3,
  dataTable: 4,
  code: 5,
  data: 6,
  readOnly: 7,
  pdpt32: 8,
} as const;
/** Number of frames that {@link GuestPages} uses. */
export const FRAMES = 9;

/** Page-table entry bits (SDM vol. 3A 4.5); accessed and dirty are set so that no walk changes memory. */
const P = 1n;
const W = 2n;
const U = 4n;
const A = 0x20n;
const D = 0x40n;
const NX = 1n << 63n;

/** CR0 PE MP ET NE WP AM PG; CR4 PAE OSFXSR OSXMMEXCPT; EFER SCE LME LMA NXE. */
const CR0 = 0x80050033n;
const CR4 = 0x620n;
const EFER = 0xd01n;
const EFER_LME = 0x100n;
const EFER_LMA = 0x400n;
/** Present, DPL 3, accessed: data; 64-bit code; 32-bit code (LAR's bits >> 8). */
const DATA_ATTRIBUTES = 0xc0f3;
const CODE64_ATTRIBUTES = 0xa0fb;
const CODE32_ATTRIBUTES = 0xc0fb;
const SEL_DATA = 0x2b;
const SEL_CODE64 = 0x33;
const SEL_CODE32 = 0x23;
const ALWAYS_ON = 0x202;
const RF = 0x10000;

/** How a case ended on our CPU: an exception, or nothing (its step is done). */
export type CaseEnd = Fault | null;

/** The pages of a case; fills them once and then only what differs from case to case. */
export class GuestPages {
  readonly #memory: GuestMemory;
  /** Where the code of the last case lies, and what it is. */
  #codeOffset = -1;
  #code = new Uint8Array();
  readonly #before = new Uint32Array(PAGE / 4);
  readonly #beforeBytes = new Uint8Array(this.#before.buffer);

  /** `memory` must be fresh, with {@link FRAMES} slots and frames or more. */
  constructor(memory: GuestMemory) {
    this.#memory = memory;
    for (let frame = 0; frame < FRAMES; frame++) memory.addFrame(frame);
    const entry = (table: MachineFrame, index: number, frame: MachineFrame, bits: bigint): void =>
      memory.write64(table * PAGE + index * 8, BigInt(frame * PAGE) | bits);
    const link = P | W | U | A;
    const index = (address: number, level: number): number => Math.floor(address / 2 ** (12 + 9 * level)) % 512;
    entry(FRAME.pml4, 0, FRAME.pdpt, link);
    entry(FRAME.pdpt, 0, FRAME.pd, link);
    entry(FRAME.pdpt32, 0, FRAME.pd, P);
    entry(FRAME.pd, index(CODE_BASE, 1), FRAME.codeTable, link);
    entry(FRAME.pd, index(DATA_BASE, 1), FRAME.dataTable, link);
    entry(FRAME.codeTable, index(CODE_BASE, 0), FRAME.code, P | U | A | D);
    entry(FRAME.dataTable, index(DATA_BASE, 0), FRAME.data, P | W | U | A | D | NX);
    entry(FRAME.dataTable, index(RO_BASE, 0), FRAME.readOnly, P | U | A | D | NX);
    const readOnly = new Uint32Array(PAGE / 4);
    fillPage(readOnly, RO_SEED);
    memory.writeBytes(FRAME.readOnly * PAGE, new Uint8Array(readOnly.buffer));
    memory.fillPage(FRAME.code, 0xcc);
  }

  /** Lays out code and data of a case; true when the code is another than that of the case before. */
  load(record: CaseRecord): boolean {
    const { codeOffset, code } = record;
    const same = codeOffset === this.#codeOffset && Buffer.compare(code, this.#code) === 0;
    if (!same) this.#loadCode(codeOffset, code);
    fillPage(this.#before, record.memorySeed);
    this.#beforeBytes.set(record.poke, record.pokeOffset);
    this.#memory.writeBytes(FRAME.data * PAGE, this.#beforeBytes);
    return !same;
  }
  /** Puts INT3 in place of the last case's code, and the code of this one at its place. */
  #loadCode(codeOffset: number, code: Uint8Array): void {
    const put = (offset: number, bytes: Uint8Array): void =>
      this.#memory.writeBytes(FRAME.code * PAGE + offset, bytes.subarray(0, PAGE - offset));
    if (this.#codeOffset >= 0) put(this.#codeOffset, new Uint8Array(this.#code.length).fill(0xcc));
    put(codeOffset, code);
    this.#codeOffset = codeOffset;
    this.#code = code.slice();
  }

  /** The data page as {@link load} left it and as it is. */
  get dataPage(): DataPage {
    const page = this.#memory.page(FRAME.data);
    return { before: this.#before, now: new Uint32Array(page.buffer, page.byteOffset, PAGE / 4) };
  }
}

/** The data page before and after a case. */
export interface DataPage {
  readonly before: Uint32Array;
  readonly now: Uint32Array;
}

/** Lists the words that changed. */
function saveChanges({ before, now }: DataPage, outcome: OutcomeRecord): void {
  let count = 0;
  for (let i = 0; i < PAGE / 4; i += 2) {
    if (now[i] === before[i] && now[i + 1] === before[i + 1]) continue;
    if (count < CHANGES_MAX) outcome.setChange(count, i * 4, (BigInt(now[i + 1]!) << 32n) | BigInt(now[i]!));
    count++;
  }
  outcome.changes = count;
}

/**
 * Puts the case's state into `cpu`, at CPL 3. The engine's derived slots (TLB, code mode) are the caller's. `compatible` runs
 * 32-bit cases in compatibility mode instead of protected mode with PAE paging.
 */
export function loadState(cpu: Cpu, record: CaseRecord, compatible = false): void {
  cpu.clear();
  const wide = record.mode === MODE_64;
  for (let i = 0; i < 16; i++) cpu.setGpr(i, record.gpr(i));
  cpu.rip = BigInt(CODE_BASE + record.codeOffset);
  cpu.rflags = record.rflags | ALWAYS_ON;
  cpu.set('cr0', CR0);
  cpu.set('cr3', FRAME.pml4 * PAGE);
  cpu.set('cr4', CR4);
  cpu.set('efer', EFER);
  cpu.set('cpl', 3);
  for (const segment of [SEG.es, SEG.cs, SEG.ss, SEG.ds, SEG.fs, SEG.gs]) {
    cpu.set('selector', SEL_DATA, segment);
    cpu.set('segmentAttributes', DATA_ATTRIBUTES, segment);
    cpu.set('segmentLimit', 0xffffffff, segment);
  }
  cpu.set('selector', wide ? SEL_CODE64 : SEL_CODE32, SEG.cs);
  cpu.set('segmentAttributes', wide ? CODE64_ATTRIBUTES : CODE32_ATTRIBUTES, SEG.cs);
  cpu.set('codeMode', wide ? 2 : record.mode === MODE_PROT16 ? 0 : 1);
  if (isSegmented(record.mode)) loadSegments(cpu, record, compatible);
  else {
    cpu.set('segmentBase', record.fsBase, SEG.fs);
    cpu.set('segmentBase', record.gsBase, SEG.gs);
  }
  loadFloating(cpu, record.fxsave);
}

function loadSegments(cpu: Cpu, record: CaseRecord, compatible: boolean): void {
  for (const segment of [SEG.es, SEG.cs, SEG.ss, SEG.ds, SEG.fs, SEG.gs]) {
    const loaded = loadedSegment(record.segmentIndex(segment), segment === SEG.cs);
    cpu.set('selector', loaded.selector, segment);
    cpu.set('segmentBase', BigInt(loaded.base), segment);
    cpu.set('segmentLimit', loaded.limit, segment);
    cpu.set('segmentAttributes', loaded.attributes, segment);
  }
  cpu.rip = BigInt.asUintN(32, cpu.rip - cpu.get('segmentBase', SEG.cs));
  if (compatible) return;
  cpu.set('cr3', FRAME.pdpt32 * PAGE);
  cpu.set('efer', EFER & ~EFER_LMA & ~EFER_LME);
}

/** Reads an FXSAVE image (SDM vol. 1, 10.5.1): registers there stand in stack order. */
function loadFloating(cpu: Cpu, image: Uint8Array): void {
  const view = new DataView(image.buffer, image.byteOffset, 512);
  const fsw = view.getUint16(FX.fsw, true);
  const top = (fsw >> 11) & 7;
  cpu.set('fcw', view.getUint16(FX.fcw, true));
  cpu.set('fsw', fsw & ~0x3800);
  cpu.set('ftop', top);
  cpu.set('ftags', image[FX.ftw]!);
  cpu.set('mxcsr', view.getUint32(FX.mxcsr, true));
  for (let i = 0; i < 8; i++) {
    const at = FX.st + 16 * i;
    const value = view.getBigUint64(at, true) | (BigInt(view.getUint16(at + 8, true)) << 64n);
    cpu.set('fpr', value, (top + i) & 7);
  }
  for (let i = 0; i < 16; i++) {
    const at = FX.xmm + 16 * i;
    cpu.set('xmm', view.getBigUint64(at, true) | (view.getBigUint64(at + 8, true) << 64n), i);
  }
}

function saveFloating(cpu: Cpu, image: Uint8Array): void {
  const view = new DataView(image.buffer, image.byteOffset, 512);
  const top = cpu.num('ftop');
  view.setUint16(FX.fcw, cpu.num('fcw'), true);
  view.setUint16(FX.fsw, cpu.num('fsw') | (top << 11), true);
  image[FX.ftw] = cpu.num('ftags');
  view.setUint32(FX.mxcsr, cpu.num('mxcsr'), true);
  for (let i = 0; i < 8; i++) {
    const value = cpu.get('fpr', (top + i) & 7);
    view.setBigUint64(FX.st + 16 * i, BigInt.asUintN(64, value), true);
    view.setUint16(FX.st + 16 * i + 8, Number((value >> 64n) & 0xffffn), true);
  }
  for (let i = 0; i < 16; i++) {
    const value = cpu.get('xmm', i);
    view.setBigUint64(FX.xmm + 16 * i, BigInt.asUintN(64, value), true);
    view.setBigUint64(FX.xmm + 16 * i + 8, value >> 64n, true);
  }
}

/** Records how the case ended, in the terms of oracle.h: the INT3 behind the code is the orderly end. */
export function saveOutcome(cpu: Cpu, page: DataPage, record: CaseRecord, end: CaseEnd, outcome: OutcomeRecord): void {
  for (let i = 0; i < 16; i++) outcome.setGpr(i, cpu.gpr(i));
  const after = BigInt(CODE_BASE - codeBase(record) + record.codeOffset + record.code.length);
  const orderly = end === null || (!(record.flags & CASE_STEP) && end.vector === VECTOR.bp && cpu.rip === after + 1n);
  outcome.rip = end !== null && orderly ? after : cpu.rip;
  outcome.rflags = cpu.rflags & ~RF;
  outcome.vector = orderly ? VECTOR_NONE : end.vector;
  outcome.error = orderly ? 0 : end.error;
  outcome.cr2 = !orderly && end.vector === VECTOR.pf ? end.address : 0n;
  outcome.done = true;
  saveChanges(page, outcome);
  saveFloating(cpu, outcome.fxsave);
}
