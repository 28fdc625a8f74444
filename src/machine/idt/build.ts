/**
 * Wiring of the IDT machine: a small ELF kernel with a PVH entry, memory, engine and the bare platform.
 *
 * The kernel starts as Xen's docs/misc/pvh.pandoc says (32-bit protected mode, paging off, flat segments, EBX at the start
 * info), which is also how QEMU starts an ELF given by `-kernel`.
 */
import { EmulatorError } from '../../core/errors.ts';
import { EventStream } from '../../core/event-stream.ts';
import { type StateSection, sectionOf } from '../../core/state-section.ts';
import { hex, PAGE_SIZE } from '../../core/units.ts';
import { fileNotes, PT_LOAD, readElf, segmentBytes } from '../../elf/elf.ts';
import { Engine, type EngineOptions } from '../../engine/engine.ts';
import { GuestMemory } from '../../memory/guest-memory.ts';
import { IdtMachine, idtMachineState } from '../../platform/idt/machine.ts';
import type { Cpu } from '../../x86/cpu.ts';
import type { Outcome, Stop } from '../../x86/seam.ts';
import { GPR, SEG } from '../../x86/state.ts';
import { CR0 } from '../../x86/system/control.ts';
import { setCodeMode, setFlatSegment } from '../../x86/system/descriptors.ts';
import { XEN_ELFNOTE } from '../../xen/loader/notes.ts';
import { DEFAULT_TSC_KHZ } from '../config.ts';
import { Machine } from '../machine.ts';
import type { MachineEvent, MachinePlatform } from '../platform.ts';

/** The IDT machine under the tick loop: nothing is due, nothing interrupts. */
export class IdtPlatform extends IdtMachine implements MachinePlatform {
  readonly sections: readonly StateSection[] = [sectionOf('idt', idtMachineState, this)];
  readonly ended: Stop | null = null;
  readonly work = { total: 0 };
  readonly stream = new EventStream<MachineEvent>();
  readonly pollTicks = Number.POSITIVE_INFINITY;

  attach(): void {}
  restored(): void {}
  runnable(): boolean {
    return true;
  }
  nextDeadlineNs(): number {
    return Number.POSITIVE_INFINITY;
  }
  expire(): string[] {
    return [];
  }
  hasPending(): boolean {
    return false;
  }
  deliverPending(_cpu: Cpu): { outcome: Outcome } | null {
    return null;
  }
  switched(): void {}
  input(_device: string, _data: Uint8Array): void {}
}

export interface IdtConfig {
  /** An ELF file with the note XEN_ELFNOTE_PHYS32_ENTRY. */
  readonly kernel: Uint8Array;
  /** Memory from address 0 on in bytes, a multiple of a page. */
  readonly memoryBytes: number;
  readonly tscKhz?: number;
}

const RECORD_BYTES = 8 << 20;
/** Address of the start info: below the kernel and above the real-mode vectors. */
const START_INFO = 0x6000;
const MEMORY_MAP = START_INFO + 0x40;
/** XEN_HVM_START_MAGIC_VALUE of Xen's public/arch-x86/hvm/start_info.h. */
const START_MAGIC = 0x336ec578;
const E820_RAM = 1;
/** Attributes of the flat segments at the start: 32-bit code and data, accessed. */
const FLAT = { code: 0xc09b, data: 0xc093, tss: 0x008b, ldt: 0x0082 } as const;
const DR6_FIXED = 0xffff0ff0;
const DR7_FIXED = 0x400;

/** Builds the machine at tick 0; `write` takes the console's bytes. E_IMAGE, E_PLATFORM or E_MEMORY for what cannot be. */
export function buildIdtMachine(
  config: IdtConfig,
  options: { engine?: EngineOptions; write?: (byte: number) => void } = {},
): Machine {
  const pages = Math.floor(config.memoryBytes / PAGE_SIZE);
  const memory = new GuestMemory({ vcpus: 1, slots: pages, frameLimit: pages, recordBytes: RECORD_BYTES });
  for (let frame = 0; frame < pages; frame++) memory.addFrame(frame);
  const entry = loadKernel(memory, config);
  const engine = new Engine(memory, options.engine);
  writeStartInfo(memory, config.memoryBytes);
  startFlat(engine.cpus[0]!, entry);
  engine.cpus[0]!.setGpr(GPR.rbx, BigInt(START_INFO));
  return new Machine(engine, new IdtPlatform(options.write, options.engine?.policy), config.tscKhz ?? DEFAULT_TSC_KHZ);
}

/** Places the segments by physical address; returns the PVH entry. */
function loadKernel(memory: GuestMemory, config: IdtConfig): number {
  const elf = readElf(config.kernel);
  const note = fileNotes(elf).find((x) => x.owner === 'Xen' && x.type === XEN_ELFNOTE.PHYS32_ENTRY);
  if (note === undefined || note.desc.length < 4)
    throw new EmulatorError('E_PLATFORM', 'the image has no PVH entry (XEN_ELFNOTE_PHYS32_ENTRY)');
  for (const segment of elf.segments) {
    if (segment.type !== PT_LOAD) continue;
    const end = segment.paddr + BigInt(segment.memsz);
    if (end > BigInt(config.memoryBytes))
      throw new EmulatorError('E_MEMORY', `the image ends at ${hex(end)}, memory at ${hex(config.memoryBytes)}`);
    memory.writeBytes(Number(segment.paddr), segmentBytes(elf, segment));
  }
  const { buffer, byteOffset } = note.desc;
  return new DataView(buffer, byteOffset).getUint32(0, true);
}

/** struct hvm_start_info, version 1, with one range of RAM. */
function writeStartInfo(memory: GuestMemory, memoryBytes: number): void {
  memory.write32(START_INFO, START_MAGIC);
  memory.write32(START_INFO + 4, 1);
  memory.write64(START_INFO + 40, BigInt(MEMORY_MAP));
  memory.write32(START_INFO + 48, 1);
  memory.write64(MEMORY_MAP + 8, BigInt(memoryBytes));
  memory.write32(MEMORY_MAP + 16, E820_RAM);
}

/** Puts a vCPU before `entry` in flat 32-bit protected mode without paging. */
export function startFlat(cpu: Cpu, entry: number): void {
  setFlatSegment(cpu, SEG.cs, 8, FLAT.code);
  for (const segment of [SEG.es, SEG.ss, SEG.ds, SEG.fs, SEG.gs]) setFlatSegment(cpu, segment, 16, FLAT.data);
  for (const [segment, attributes] of [
    [SEG.tr, FLAT.tss],
    [SEG.ldtr, FLAT.ldt],
  ] as const) {
    setFlatSegment(cpu, segment, 0, attributes);
    cpu.set('segmentLimit', segment === SEG.tr ? 0x67 : 0, segment);
  }
  cpu.set('cr0', CR0.pe | CR0.et);
  cpu.set('dr', DR6_FIXED, 6);
  cpu.set('dr', DR7_FIXED, 7);
  cpu.set('fcw', 0x37f);
  cpu.set('mxcsr', 0x1f80);
  // PAT at reset (SDM vol. 3A 12.12.4)
  cpu.set('pat', 0x0007040600070406n);
  setCodeMode(cpu);
  cpu.rip = BigInt(entry);
}
