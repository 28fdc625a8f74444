/**
 * The start-of-day layout of an amd64 PV domain as a pure plan: which pseudo-physical frames hold what, at which virtual
 * addresses, in the order and with the alignment of Xen's own builder, so that a guest finds the world it knows.
 *
 * Order: kernel (behind padding from VIRT_BASE), ramdisk unless it may stay unmapped, p2m list unless INIT_P2M asks for it
 * elsewhere, start_info, xenstore ring, console ring, page tables, boot stack, padding to the end of the initial mapping
 * (4 MiB aligned, at least 512 KiB behind the boot stack), unmapped ramdisk, p2m list of INIT_P2M with its tables.
 *
 * Invariant: regions follow each other without gaps from frame 0; frames behind the last one are free memory.
 * Source: tools/libs/guest/xg_dom_core.c (xc_dom_build_image), xg_dom_x86.c (alloc_pgtables_pv, alloc_p2m_list_x86_64,
 * start_info_x86_64, vcpu_x86_64), xg_dom_boot.c of Xen 4.17.
 */

import { EmulatorError } from '../../core/errors.ts';
import { canonical, hex, PAGE_SIZE, type PseudoFrame, u64, type VirtAddr } from '../../core/units.ts';
import { MAX_GUEST_CMDLINE } from '../abi/structures.ts';
import type { XenImage } from './image.ts';
import { type Mapping, planMapping, shiftTables } from './page-tables.ts';

/** `start_info.flags`: the ramdisk is named by frame, not address (xen.h). */
export const SIF_MOD_START_PFN = 1 << 3;
/**
 * The command line as start_info holds it, UTF-8 with its NUL; E_USAGE when it is longer than Xen passes on (which
 * would cut it without a word).
 */
export function commandLineBytes(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(`${text}\0`);
  if (bytes.length > MAX_GUEST_CMDLINE)
    throw new EmulatorError(
      'E_USAGE',
      `the command line has ${bytes.length - 1} bytes, Xen passes ${MAX_GUEST_CMDLINE - 1}`,
    );
  return bytes;
}

const PAGE = BigInt(PAGE_SIZE);
const PADDING_PAGES = (512 * 1024) / PAGE_SIZE;
const MAPPING_ALIGN = (1n << 22n) - 1n;
const ADDRESS_SPACE = 1n << 64n;

/** What a region of the layout holds. */
export type RegionName =
  | 'padding'
  | 'kernel'
  | 'ramdisk'
  | 'phys2mach'
  | 'phys2mach tables'
  | 'start info'
  | 'xenstore'
  | 'console'
  | 'page tables'
  | 'boot stack';

/** Consecutive frames with one purpose; `vaddr` is null outside the initial mappings. */
export interface Region {
  readonly name: RegionName;
  readonly pfn: PseudoFrame;
  readonly pages: number;
  readonly vaddr: VirtAddr | null;
}

/** What is asked for; `ramdiskBytes` is the length the guest is given (see `unpackModule`), null without one. */
export interface LayoutRequest {
  readonly image: XenImage;
  readonly pages: number;
  readonly ramdiskBytes: number | null;
}

/** The whole plan; `startInfo` holds the fields of start_info that follow from it, in frames where Xen has machine ones. */
export interface DomainLayout {
  readonly pages: number;
  readonly virtBase: VirtAddr;
  readonly regions: readonly Region[];
  /** The mapping at VIRT_BASE and, with INIT_P2M, the one of the p2m list. */
  readonly mappings: readonly Mapping[];
  /** First virtual address behind the initial mapping. */
  readonly virtEnd: VirtAddr;
  readonly entry: VirtAddr;
  /** Initial RSP: the top of the boot stack page. */
  readonly stackTop: VirtAddr;
  /** Initial RSI: the address of start_info. */
  readonly startInfoVaddr: VirtAddr;
  readonly hypercallPagePfn: PseudoFrame | null;
  /** Frame of the image's first byte. */
  readonly kernelPfn: PseudoFrame;
  readonly ramdiskPfn: PseudoFrame | null;
  readonly startInfoPfn: PseudoFrame;
  readonly xenstorePfn: PseudoFrame;
  readonly consolePfn: PseudoFrame;
  readonly p2mPfn: PseudoFrame;
  /** Frame of the top-level table, the first of the page tables. */
  readonly cr3Pfn: PseudoFrame;
  readonly startInfo: {
    readonly nrPages: number;
    readonly flags: number;
    readonly ptBase: VirtAddr;
    readonly nrPtFrames: number;
    readonly mfnList: VirtAddr;
    readonly firstP2mPfn: PseudoFrame;
    readonly nrP2mFrames: number;
    /** A virtual address, or a frame with SIF_MOD_START_PFN; 0 without a ramdisk. */
    readonly modStart: bigint;
    readonly modLen: number;
  };
}

const mib = (pages: number): string => `${Math.ceil(pages / 256)} MiB`;

/** Hands out frames from 0 upwards and virtual addresses from VIRT_BASE upwards. */
class Allocator {
  readonly regions: Region[] = [];
  readonly #total: number;
  readonly #virtBase: VirtAddr;
  pfn: PseudoFrame = 0;
  constructor(total: number, virtBase: VirtAddr) {
    this.#total = total;
    this.#virtBase = virtBase;
  }
  /** The virtual address of the next frame, if it is still mapped. */
  get vaddr(): VirtAddr {
    return this.#virtBase + BigInt(this.pfn) * PAGE;
  }
  /** Takes `pages` frames; E_MEMORY, which calls them `what`, when the domain has fewer left. */
  take(name: RegionName, pages: number, vaddr: VirtAddr | null = this.vaddr, what: string = name): Region {
    if (pages > this.#total - this.pfn)
      throw new EmulatorError(
        'E_MEMORY',
        `the ${what} needs ${pages} pages (${mib(pages)}) behind the first ${this.pfn}, but the domain has ${this.#total} pages (${mib(this.#total)})`,
      );
    const region = { name, pfn: this.pfn, pages, vaddr };
    if (pages > 0) this.regions.push(region);
    this.pfn += pages;
    return region;
  }
  /** Takes frames up to the address `boundary`, for the reason `what`. */
  padTo(boundary: VirtAddr, what: string): void {
    this.take('padding', Number((boundary - this.vaddr) / PAGE), this.vaddr, what);
  }
}

/** Pages that `bytes` bytes occupy. */
const pagesOf = (bytes: number): number => Math.ceil(bytes / PAGE_SIZE);

/**
 * Plans the domain; E_MEMORY when image, ramdisk and tables do not fit into `pages`, E_IMAGE when the image asks for
 * mappings that overlap.
 */
export function planLayout({ image, pages, ramdiskBytes }: LayoutRequest): DomainLayout {
  const { info, virtStart, virtEnd } = image;
  const at = new Allocator(pages, info.virtBase);
  at.padTo(virtStart, 'gap between VIRT_BASE and the kernel');
  const kernel = at.take('kernel', pagesOf(Number(virtEnd - virtStart)));
  const unmapped = info.modStartPfn;
  let ramdisk = ramdiskBytes !== null && !unmapped ? at.take('ramdisk', pagesOf(ramdiskBytes)) : null;
  // Xen ignores an INIT_P2M that lies in or behind the initial mapping, or inside a page.
  const wanted = info.initP2m;
  const initP2m = wanted !== null && wanted < info.virtBase && (wanted & (PAGE - 1n)) === 0n ? wanted : null;
  const p2mPages = pagesOf(pages * 8);
  let p2m = initP2m === null ? at.take('phys2mach', p2mPages) : null;
  const startInfo = at.take('start info', 1);
  const xenstore = at.take('xenstore', 1);
  const console = at.take('console', 1);
  const { mapping, end } = planInitialMapping(at, info.virtBase, pages);
  const mappings = [mapping];
  const tables = at.take('page tables', mapping.tableCount);
  const stack = at.take('boot stack', 1);
  // In 64 bits the end of the address space is 0, which Xen takes for no end.
  if (end < ADDRESS_SPACE) at.padTo(end, 'padding behind the boot stack');
  if (ramdiskBytes !== null && unmapped) ramdisk = at.take('ramdisk', pagesOf(ramdiskBytes), null);
  let p2mFrames = 0;
  if (initP2m !== null) {
    const planned = planP2m(at, initP2m, p2mPages, mapping);
    mappings.push(planned.mapping);
    p2m = planned.region;
    p2mFrames = p2mPages + planned.mapping.tableCount;
  }
  const hypercallPagePfn = info.hypercallPage === null ? null : Number((info.hypercallPage - info.virtBase) / PAGE);
  if (hypercallPagePfn !== null && hypercallPagePfn >= pages)
    throw new EmulatorError('E_MEMORY', `the hypercall page ${hex(info.hypercallPage!)} is behind the domain's memory`);
  const addressOf = (pfn: PseudoFrame): VirtAddr => u64(info.virtBase + BigInt(pfn) * PAGE);
  const stackTop = addressOf(stack.pfn + 1);
  requireCanonical('the entry', info.entry);
  requireCanonical('the boot stack', stackTop);
  return {
    pages,
    virtBase: info.virtBase,
    regions: at.regions,
    mappings,
    virtEnd: end,
    entry: info.entry,
    stackTop,
    startInfoVaddr: addressOf(startInfo.pfn),
    hypercallPagePfn,
    kernelPfn: kernel.pfn,
    ramdiskPfn: ramdisk === null ? null : ramdisk.pfn,
    startInfoPfn: startInfo.pfn,
    xenstorePfn: xenstore.pfn,
    consolePfn: console.pfn,
    p2mPfn: p2m!.pfn,
    cr3Pfn: tables.pfn,
    startInfo: {
      nrPages: pages,
      // xl clears the builder's SIF_VIRT_P2M_4TOOLS (libxl_dom.c, libxl__build_pv).
      flags: ramdisk !== null && unmapped ? SIF_MOD_START_PFN : 0,
      ptBase: tables.vaddr!,
      nrPtFrames: mapping.tableCount,
      mfnList: p2m!.vaddr!,
      firstP2mPfn: initP2m === null ? 0 : p2m!.pfn,
      nrP2mFrames: p2mFrames,
      modStart: ramdisk === null ? 0n : unmapped ? BigInt(ramdisk.pfn) : ramdisk.vaddr!,
      modLen: ramdisk === null ? 0 : unmapped ? ramdisk.pages * PAGE_SIZE : ramdiskBytes!,
    },
  };
}

/** Places the phys2mach table where the image wants it, at `start` outside of the `initial` mapping, with page tables of its own. */
function planP2m(
  at: Allocator,
  start: VirtAddr,
  pages: number,
  initial: Mapping,
): { readonly region: Region; readonly mapping: Mapping } {
  const last = start + BigInt(pages) * PAGE - 1n;
  const planned = planMapping(start, last, at.pfn, at.pfn, [initial]);
  if (planned === null)
    throw new EmulatorError('E_IMAGE', `INIT_P2M ${hex(start)} overlaps the initial mapping of the kernel`);
  const region = at.take('phys2mach', pages, start);
  at.take('phys2mach tables', planned.tableCount, null);
  return { region, mapping: shiftTables(planned, pages) };
}

/** Refuses an address that arch_set_info_guest refuses. */
function requireCanonical(what: string, address: VirtAddr): void {
  if (canonical(address) !== address) throw new EmulatorError('E_IMAGE', `${what} at ${hex(address)} is not canonical`);
}

/**
 * Finds the smallest initial mapping that holds everything allocated, its own tables, the boot stack and the padding;
 * the tables map themselves, so the size is found by repetition.
 */
function planInitialMapping(at: Allocator, virtBase: VirtAddr, total: number): { mapping: Mapping; end: VirtAddr } {
  const extra = 1 + PADDING_PAGES;
  for (let pages = extra; ; ) {
    const last = (at.vaddr + BigInt(pages) * PAGE) | MAPPING_ALIGN;
    if (last >= ADDRESS_SPACE)
      throw new EmulatorError('E_IMAGE', `the initial mapping up to ${hex(last)} passes the end of the address space`);
    const frames = Number((last - virtBase) / PAGE);
    if (frames >= total)
      throw new EmulatorError(
        'E_MEMORY',
        `the initial mapping needs ${frames + 1} pages (${mib(frames + 1)}), but the domain has ${total} pages (${mib(total)})`,
      );
    const mapping = planMapping(virtBase, last, 0, at.pfn, [])!;
    pages = mapping.tableCount + extra;
    if (at.vaddr + BigInt(pages) * PAGE <= last + 1n) return { mapping, end: last + 1n };
  }
}
