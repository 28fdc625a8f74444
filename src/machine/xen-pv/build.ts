/**
 * Wiring of a Xen PV machine: image to layout, memory, engine, hypervisor, devices and vCPU 0's first state.
 */
import { memoryProblem } from '../../core/domain-memory.ts';
import { EmulatorError } from '../../core/errors.ts';
import { hash128 } from '../../core/hash128.ts';
import { decode, encode } from '../../core/schema.ts';
import { type StateSection, sectionOf } from '../../core/state-section.ts';
import { PAGE_SIZE } from '../../core/units.ts';
import { Console } from '../../devices/console/console.ts';
import type { DeviceHost } from '../../devices/device.ts';
import { XenStore } from '../../devices/xenstore/xenstore.ts';
import { Engine, type EngineOptions } from '../../engine/engine.ts';
import { GuestMemory } from '../../memory/guest-memory.ts';
import type { Cpu } from '../../x86/cpu.ts';
import { GPR, SEG } from '../../x86/state.ts';
import { FLAT, RUNSTATE } from '../../xen/abi/numbers.ts';
import { domainMmSchema } from '../../xen/domain.ts';
import { buildDomain } from '../../xen/domain-builder.ts';
import { readXenImage } from '../../xen/loader/image.ts';
import { planLayout } from '../../xen/loader/layout.ts';
import { moduleLength, unpackKernel, unpackModule } from '../../xen/loader/payload.ts';
import { machineLayout } from '../../xen/mm/machine-layout.ts';
import { CHUNK_BYTES, type FrameTable } from '../../xen/mm/page-info.ts';
import { loadFlat, setSegment } from '../../xen/pv/descriptors.ts';
import { pvState, XenPv } from '../../xen/pv/pv.ts';
import { fixCr4, GUEST_CR0, GUEST_EFER } from '../../xen/pv/registers.ts';
import { refreshTime, writeWallClock } from '../../xen/pv/time.ts';
import { imageOf, type MachineConfig } from '../config.ts';
import { Machine } from '../machine.ts';
import type { BuiltMachine } from '../platform-kind.ts';
import { XenExplanation } from './explanation.ts';
import { provenanceOf } from './provenance.ts';
import { PvTerminal } from './terminal.ts';

/** The domain's handle: xl draws one, ours is fixed. */
const DOMAIN_UUID = '48484848-4848-4848-4848-484848484848';
const RECORD_BYTES = 96 << 20;

export interface PvMachine extends BuiltMachine {
  readonly xen: XenPv;
  readonly console: Console;
  readonly xenstore: XenStore;
}

/** Builds the machine at tick 0, its vCPUs but the first down; E_IMAGE, E_PLATFORM or E_MEMORY for what cannot be. */
export function buildPvMachine(config: MachineConfig, options: { engine?: EngineOptions } = {}): PvMachine {
  const { elf, memory, built, provenance } = loadDomain(config);
  let machine: Machine | null = null;
  let xen: XenPv;
  const spaceOf = (cpu: Cpu): 0 | 1 => (xen.vcpus[cpu.id]!.kernelMode ? 0 : 1);
  const engine = new Engine(memory, { ...options.engine, policy: config.cpuPolicy, mmu: { spaceOf } });
  const host: DeviceHost = {
    memory,
    charge: (units) => built.domain.work.charge(units),
    notify: (port) => void xen.events.setPending(port),
  };
  const console = new Console(host);
  const xenstore = new XenStore(host);
  xen = new XenPv({
    memory,
    mmu: engine.mmu,
    clock: { now: () => machine?.now() ?? 0, tscKhz: config.tscKhz },
    vcpus: config.vcpus,
    policy: config.cpuPolicy,
    domain: built.domain,
    places: { sharedInfo: built.sharedInfo * PAGE_SIZE, grantFrames: built.grantFrames },
    backends: [
      { device: xenstore, ...built.xenstore },
      { device: console, ...built.console },
    ],
    callConsole: console,
  });
  attachDevices(console, xenstore, built, config);
  xen.sections = sectionsOf(xen, built.domain);
  machine = new Machine(engine, xen, config.tscKhz);
  startVcpu(xen, built.context, config);
  return {
    ...{ machine, elf, xen, console, xenstore },
    terminal: new PvTerminal(console),
    explanation: new XenExplanation(xen, provenance),
  };
}

type Built = ReturnType<typeof buildDomain>;

/** The domain's memory with everything in it that the toolstack puts there. */
function loadDomain(config: MachineConfig): {
  elf: Uint8Array;
  memory: GuestMemory;
  built: Built;
  provenance: ReturnType<typeof provenanceOf>;
} {
  const problem = memoryProblem(config.memoryBytes);
  if (problem !== null) throw new EmulatorError('E_MEMORY', problem);
  const { elf } = unpackKernel(imageOf(config, 'kernel'), config.inflate);
  const ramdisk = config.images.initrd ?? null;
  const image = readXenImage(elf);
  const pages = config.memoryBytes / PAGE_SIZE;
  const plan = planLayout({
    image,
    pages,
    ramdiskBytes: ramdisk === null ? null : moduleLength(ramdisk),
  });
  const layout = machineLayout(pages);
  const memory = new GuestMemory({
    vcpus: config.vcpus,
    slots: layout.slots,
    frameLimit: layout.frameLimit,
    recordBytes: RECORD_BYTES,
  });
  const built = buildDomain({
    id: 1,
    vcpus: config.vcpus,
    machine: layout,
    memory,
    plan,
    pieces: image.pieces,
    ramdisk: ramdisk === null ? null : unpackModule(ramdisk, config.inflate),
    commandLine: config.commandLine,
    log: () => {},
  });
  return { elf, memory, built, provenance: provenanceOf(layout, plan, image.pieces, config.commandLine) };
}

/** Gives the devices their rings, and the store what the toolstack says of the domain. */
function attachDevices(console: Console, xenstore: XenStore, built: Built, config: MachineConfig): void {
  console.attach(built.console.frame, built.console.port);
  xenstore.attach(built.xenstore.frame, built.xenstore.port);
  xenstore.describe({
    name: 'guest',
    uuid: DOMAIN_UUID,
    memoryKib: config.memoryBytes / 1024,
    vcpus: config.vcpus,
    commandLine: config.commandLine,
    console: built.console,
  });
}

const sectionsOf = (xen: XenPv, domain: Built['domain']): StateSection[] => [
  sectionOf('pv', pvState, xen),
  {
    name: 'mm',
    encode: () => encode(domainMmSchema, domain.state),
    decode: (bytes) => domain.restore(decode(domainMmSchema, bytes), domain.frames.bytes.slice()),
  },
  frameTableSection(domain.frames),
  ...xen.backends.map(({ device }) => device.section),
];

/** The frame table as a section: its hash is the sum of one hash a chunk, and only chunks that changed are hashed anew. */
function frameTableSection(frames: FrameTable): StateSection {
  const hashes = new Array<bigint>(frames.dirtyChunks.length).fill(0n);
  let total = 0n;
  return {
    name: 'frames',
    encode(reuse) {
      if (reuse === undefined) return frames.bytes.slice();
      reuse.set(frames.bytes);
      return reuse;
    },
    decode: (bytes) => frames.load(bytes),
    hash(seed) {
      const { dirtyChunks } = frames;
      for (let chunk = dirtyChunks.indexOf(1); chunk >= 0; chunk = dirtyChunks.indexOf(1, chunk + 1)) {
        const data = frames.bytes.subarray(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES);
        const hash = hash128(data, (seed << 20) | chunk);
        total += hash - hashes[chunk]!;
        hashes[chunk] = hash;
        dirtyChunks[chunk] = 0;
      }
      return total;
    },
    forget: () => frames.dirtyChunks.fill(1),
  };
}

/** vCPU 0 as Xen leaves it for the guest's first instruction (D-15). */
function startVcpu(xen: XenPv, context: Built['context'], config: MachineConfig): void {
  const cpu = xen.cpus[0]!;
  const v = xen.vcpus[0]!;
  cpu.rflags = Number(context.rflags);
  cpu.rip = context.rip;
  cpu.rsp = context.rsp;
  cpu.setGpr(GPR.rsi, context.rsi);
  loadFlat(cpu, 'cs', FLAT.ring3Cs64);
  loadFlat(cpu, 'ss', FLAT.ring3Ss);
  for (const segment of [SEG.es, SEG.ds, SEG.fs, SEG.gs]) setSegment(cpu, segment, context.ds, 0n);
  cpu.cpl = 3;
  cpu.set('cr0', GUEST_CR0);
  cpu.set('cr4', fixCr4(0n));
  cpu.set('efer', GUEST_EFER);
  cpu.set('dr', context.dr6, 6);
  cpu.set('dr', context.dr7, 7);
  cpu.set('fcw', 0x37f);
  cpu.set('mxcsr', 0x1f80);
  v.initialised = true;
  v.down = false;
  v.cr4 = fixCr4(0n);
  v.kernelSs = context.kernelSs;
  v.kernelSp = context.kernelSp;
  v.kernelTable = context.kernelTable;
  v.debug[6] = context.dr6;
  v.debug[7] = context.dr7;
  v.runstate = { state: RUNSTATE.running, entryTime: 0, time: [0, 0, 0, 0] };
  writeWallClock(xen.memory, xen.sharedInfo, config.epochSeconds);
  refreshTime(xen, 0);
  xen.restored();
}
