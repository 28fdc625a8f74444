/**
 * Where everything lies in machine memory. The choice is ours (a guest must cope with any), fixed by the sizes alone:
 *
 *     0 .. 0xff       legacy I/O area, owned by dom_io; no memory behind it
 *     0x100 ..        Xen: tables of the M2P mapping, one page of unused M2P entries, the M2P itself, then the Xen heap
 *                     (shared_info, grant frames)
 *     domainBase ..   the domain: pfn n is frame domainBase + n at start, so a frame never equals its pfn
 *     spareBase ..    free frames, for balloon and exchange
 */
import type { MachineFrame } from '../../core/units.ts';

/** Frames of the legacy I/O area (arch_init_memory). */
export const IO_FRAMES = 0x100;
/** M2P entries (8 bytes) of one page, and of one L1 table of pages. */
const ENTRIES_PER_PAGE = 512;
const ENTRIES_PER_L1 = 512 * 512;
/** Domain memory starts at a multiple of 2 MiB, not below 16 MiB. */
const DOMAIN_ALIGN = 0x200;
const DOMAIN_MIN = 0x1000;
/** What xl grants a domain above its memory: LIBXL_MAXMEM_CONSTANT, 1 MiB. */
const MAXMEM_SLACK_PAGES = 256;
/** Free frames beyond what the domain may own, so that memory_op exchange finds room. */
const EXCHANGE_PAGES = 256;
/** Xen heap pages: shared_info, 64 grant frames, and some more. */
const HEAP_PAGES = 72;

export interface MachineLayout {
  /** Pages of the domain at start, and at most. */
  readonly pages: number;
  readonly maxPages: number;
  /** Frames are below this number. */
  readonly frameLimit: number;
  /** Pages that exist, for the shape of guest memory. */
  readonly slots: number;
  /** L3, L2 and first L1 of the M2P mapping. */
  readonly m2pL3: MachineFrame;
  readonly m2pL2: MachineFrame;
  readonly m2pL1: MachineFrame;
  readonly m2pL1Count: number;
  /** A page of unused entries, mapped behind the M2P's end. */
  readonly m2pUnused: MachineFrame;
  /** The M2P: entry n is the 64-bit word n from here. */
  readonly m2p: MachineFrame;
  readonly m2pPages: number;
  readonly heapBase: MachineFrame;
  readonly heapPages: number;
  readonly domainBase: MachineFrame;
  readonly spareBase: MachineFrame;
}

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to;

/** Lays a machine out for a domain of `pages` pages. */
export function machineLayout(pages: number): MachineLayout {
  const maxPages = pages + MAXMEM_SLACK_PAGES;
  const spare = maxPages - pages + EXCHANGE_PAGES;
  // The M2P's size depends on the frame limit, which depends on the M2P's size: grow until it fits.
  for (let m2pPages = 1; ; m2pPages++) {
    const m2pL1Count = Math.ceil((m2pPages * ENTRIES_PER_PAGE) / ENTRIES_PER_L1);
    const m2pL3 = IO_FRAMES;
    const m2pL2 = m2pL3 + 1;
    const m2pL1 = m2pL2 + 1;
    const m2pUnused = m2pL1 + m2pL1Count;
    const m2p = m2pUnused + 1;
    const heapBase = m2p + m2pPages;
    const domainBase = Math.max(DOMAIN_MIN, roundUp(heapBase + HEAP_PAGES, DOMAIN_ALIGN));
    const spareBase = domainBase + pages;
    const frameLimit = spareBase + spare;
    if (m2pPages * ENTRIES_PER_PAGE < frameLimit) continue;
    return {
      pages,
      maxPages,
      frameLimit,
      slots: heapBase + HEAP_PAGES - IO_FRAMES + pages + spare,
      m2pL3,
      m2pL2,
      m2pL1,
      m2pL1Count,
      m2pUnused,
      m2p,
      m2pPages,
      heapBase,
      heapPages: HEAP_PAGES,
      domainBase,
      spareBase,
    };
  }
}
