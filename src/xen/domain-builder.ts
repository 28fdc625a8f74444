/**
 * Builds an amd64 PV domain from a layout plan: machine memory and its owners, the guest's pages, its page tables, pinned
 * and referenced as Xen leaves them, and the registers that vCPU 0 starts with.
 *
 * Order and contents are those of Xen's toolstack, so that a guest finds what it would find under xl.
 * Source: tools/libs/guest/xg_dom_x86.c, xg_dom_boot.c; xen/arch/x86/pv/hypercall.c; xen/arch/x86/domain.c
 * (arch_set_info_guest), Xen 4.17.
 */
import { assert } from '../core/assert.ts';
import { EmulatorError } from '../core/errors.ts';
import { type MachineFrame, PAGE_SIZE, type PseudoFrame, type VirtAddr } from '../core/units.ts';
import { joinWords } from '../core/words.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { FLAT, VGCF } from './abi/numbers.ts';
import { AMD64, LEGACY_MAX_VCPUS } from './abi/structures.ts';
import { Domain, type DomainHost, type VcpuTables } from './domain.ts';
import { writeHypercallPage } from './hypercall-page.ts';
import type { LoadPiece } from './loader/image.ts';
import { commandLineBytes, type DomainLayout } from './loader/layout.ts';
import { pageTableEntries } from './loader/page-tables.ts';
import { buildM2p, fillM2p } from './mm/m2p.ts';
import { IO_FRAMES, type MachineLayout } from './mm/machine-layout.ts';
import { pin } from './mm/mmuext.ts';
import { OWNER, PGC, PGT } from './mm/page-info.ts';
import { pteHigh, pteLow } from './mm/pte.ts';
import { assignPages, shareXenPage } from './mm/refs.ts';
import { getPageAndType } from './mm/types.ts';

/** DR6 and DR7 as a processor resets them. */
const DR6_DEFAULT = 0xffff_0ff0n;
const DR7_DEFAULT = 0x400n;
const RFLAGS_IF = 0x200n;
const MAGIC = 'xen-3.0-x86_64';
/** Event-channel ports the toolstack allocates before the domain starts. */
export const XENSTORE_PORT = 1;
export const CONSOLE_PORT = 2;
/** Grant frames a domain may have (LIBXL_MAX_GRANT_FRAMES_DEFAULT). */
const MAX_GRANT_FRAMES = 64;

export interface BuildRequest {
  readonly id: number;
  readonly vcpus: number;
  readonly machine: MachineLayout;
  /** Empty memory with room for `machine.slots` pages below `machine.frameLimit`. */
  readonly memory: GuestMemory;
  readonly plan: DomainLayout;
  readonly pieces: readonly LoadPiece[];
  /** The ramdisk as the guest shall see it, or null. */
  readonly ramdisk: Uint8Array | null;
  readonly commandLine: string;
  readonly log: (line: string) => void;
}

/** vCPU 0 as arch_set_info_guest leaves it. */
export interface InitialContext {
  readonly rip: VirtAddr;
  readonly rsp: VirtAddr;
  /** Address of start_info. */
  readonly rsi: VirtAddr;
  readonly rflags: bigint;
  readonly cs: number;
  readonly ss: number;
  /** DS, ES, FS and GS. */
  readonly ds: number;
  readonly kernelSs: number;
  readonly kernelSp: VirtAddr;
  readonly dr6: bigint;
  readonly dr7: bigint;
  /** VGCF bits. */
  readonly flags: number;
  readonly kernelTable: MachineFrame;
}

export interface BuiltDomain {
  readonly domain: Domain;
  readonly sharedInfo: MachineFrame;
  readonly grantFrames: readonly MachineFrame[];
  readonly xenstore: { readonly frame: MachineFrame; readonly port: number };
  readonly console: { readonly frame: MachineFrame; readonly port: number };
  readonly context: InitialContext;
}

/** Frame of a pfn at start of day. */
export const startFrame = (machine: MachineLayout, pfn: PseudoFrame): MachineFrame => machine.domainBase + pfn;

/** The hypervisor while there is no guest: nothing is cached, nothing can be asked of a guest. */
function builderHost(vcpuCount: number): DomainHost {
  const tables: VcpuTables = { kernelTable: 0, userTable: 0, gdtFrames: [], gdtEntries: 0, ldtBase: 0n, ldtEntries: 0 };
  return {
    entryChanged: () => {},
    vcpu: 0,
    tables,
    vcpuCount,
    m2pStrict: false,
    copyIn: () => null,
    fill: () => false,
    copyOut: () => false,
    rootChanged: () => {},
  };
}

/** Builds the domain; E_USAGE when the command line is too long, E_IMAGE when its tables cannot be pinned. The caller then sets `domain.host`. */
export function buildDomain(request: BuildRequest): BuiltDomain {
  const { machine, memory, plan } = request;
  const d = new Domain({ id: request.id, layout: machine, memory, log: request.log }, builderHost(request.vcpus));
  createMemory(d);
  const sharedInfo = shareXenPage(d, true);
  assert(sharedInfo !== null, 'no page for shared_info');
  const grantFrames = Array.from({ length: MAX_GRANT_FRAMES }, () => shareXenPage(d, true)!);
  const frame = (pfn: PseudoFrame): MachineFrame => startFrame(machine, pfn);
  const xenstore = { frame: frame(plan.xenstorePfn), port: XENSTORE_PORT };
  const console = { frame: frame(plan.consolePfn), port: CONSOLE_PORT };

  const kernel = frame(plan.kernelPfn) * PAGE_SIZE;
  for (const piece of request.pieces) memory.writeBytes(kernel + piece.offset, piece.content);
  if (plan.ramdiskPfn !== null && request.ramdisk !== null)
    memory.writeBytes(frame(plan.ramdiskPfn) * PAGE_SIZE, request.ramdisk);
  writeP2m(d, plan);
  writeTables(d, plan);
  writeStartInfo(d, request, { sharedInfo, xenstore: xenstore.frame, console: console.frame });
  if (plan.hypercallPagePfn !== null) writeHypercallPage(memory, frame(plan.hypercallPagePfn));
  for (let i = 0; i < LEGACY_MAX_VCPUS; i++) {
    const info = sharedInfo * PAGE_SIZE + i * AMD64.vcpuInfo.bytes;
    memory.write8(info + AMD64.vcpuInfo.at.evtchn_upcall_mask, 1);
  }
  const kernelTable = useTables(d, plan);
  return { domain: d, sharedInfo, grantFrames, xenstore, console, context: initialContext(plan, kernelTable) };
}

/** Creates every page of a new machine and says whose it is; the first pages are the domain's. */
export function createMemory(d: Domain): void {
  const { layout, memory, frames } = d;
  const heapEnd = layout.heapBase + layout.heapPages;
  frames.fill(0, IO_FRAMES, { type: PGT.writable | PGT.validated | 1, count: PGC.allocated | 1, owner: OWNER.io });
  const heap = { type: PGT.none | PGT.validated | 1, count: PGC.xenHeap | PGC.allocated | 1, owner: OWNER.xen };
  frames.fill(IO_FRAMES, heapEnd, heap);
  memory.addFrames(IO_FRAMES, heapEnd);
  memory.addFrames(layout.domainBase, layout.frameLimit);
  buildM2p(d);
  const first = startFrame(layout, 0);
  assignPages(d, first, first + layout.pages);
  fillM2p(d, first, layout.pages);
}

/** The physical-to-machine list, which the guest may change as it likes. */
function writeP2m(d: Domain, plan: DomainLayout): void {
  const list = new Uint32Array(plan.pages * 2);
  for (let pfn = 0; pfn < plan.pages; pfn++) list[pfn * 2] = startFrame(d.layout, pfn);
  d.memory.writeBytes(startFrame(d.layout, plan.p2mPfn) * PAGE_SIZE, new Uint8Array(list.buffer));
}

function writeStartInfo(
  d: Domain,
  request: BuildRequest,
  frames: { sharedInfo: MachineFrame; xenstore: MachineFrame; console: MachineFrame },
): void {
  const { plan, memory } = request;
  const { at, bytes: size } = AMD64.startInfo;
  const text = new TextEncoder();
  const info = new Uint8Array(size);
  const view = new DataView(info.buffer);
  const word = (offset: number, value: bigint | number): void => view.setBigUint64(offset, BigInt(value), true);
  info.set(text.encode(MAGIC), at.magic);
  word(at.nr_pages, plan.startInfo.nrPages);
  word(at.shared_info, frames.sharedInfo * PAGE_SIZE);
  view.setUint32(at.flags, plan.startInfo.flags, true);
  word(at.store_mfn, frames.xenstore);
  view.setUint32(at.store_evtchn, XENSTORE_PORT, true);
  word(at.console_mfn, frames.console);
  view.setUint32(at.console_evtchn, CONSOLE_PORT, true);
  word(at.pt_base, plan.startInfo.ptBase);
  word(at.nr_pt_frames, plan.startInfo.nrPtFrames);
  word(at.mfn_list, plan.startInfo.mfnList);
  word(at.mod_start, plan.startInfo.modStart);
  word(at.mod_len, plan.startInfo.modLen);
  info.set(commandLineBytes(request.commandLine), at.cmd_line);
  word(at.first_p2m_pfn, plan.startInfo.firstP2mPfn);
  word(at.nr_p2m_frames, plan.startInfo.nrP2mFrames);
  memory.writeBytes(startFrame(d.layout, plan.startInfoPfn) * PAGE_SIZE, info);
}

function writeTables(d: Domain, plan: DomainLayout): void {
  for (const entry of pageTableEntries(plan.mappings)) {
    const target = startFrame(d.layout, entry.target);
    const value = joinWords(pteLow(target, entry.flags), pteHigh(target, 0));
    d.memory.write64(startFrame(d.layout, entry.table) * PAGE_SIZE + entry.index * 8, value);
  }
}

/**
 * Pins the top-level table and makes it vCPU 0's root: two references, as at every start. E_IMAGE when it cannot be pinned, since
 * the image has its hypercall page on one of the tables.
 */
function useTables(d: Domain, plan: DomainLayout): MachineFrame {
  const root = startFrame(d.layout, plan.cr3Pfn);
  if (pin(d, root, PGT.l4) !== 0)
    throw new EmulatorError('E_IMAGE', 'the initial page tables are not valid: is HYPERCALL_PAGE on one of them?');
  assert(getPageAndType(d, root, PGT.l4) === 0, 'the initial root cannot be used');
  return root;
}

const initialContext = (plan: DomainLayout, kernelTable: MachineFrame): InitialContext => ({
  rip: plan.entry,
  rsp: plan.stackTop,
  rsi: plan.startInfoVaddr,
  rflags: RFLAGS_IF | 2n,
  cs: FLAT.ring3Cs64,
  ss: FLAT.ring3Ss,
  ds: FLAT.ring3Ds64,
  kernelSs: FLAT.ring3Ss,
  kernelSp: plan.stackTop,
  dr6: DR6_DEFAULT,
  dr7: DR7_DEFAULT,
  flags: VGCF.in_kernel | VGCF.online,
  kernelTable,
});
