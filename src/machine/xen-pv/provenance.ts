/** What the domain builder put where (src/xen/domain-builder.ts). */
import { PAGE_SIZE, type PhysAddr } from '../../core/units.ts';
import { AMD64 } from '../../xen/abi/structures.ts';
import type { LoadPiece } from '../../xen/loader/image.ts';
import { commandLineBytes, type DomainLayout, type RegionName } from '../../xen/loader/layout.ts';
import type { MachineLayout } from '../../xen/mm/machine-layout.ts';
import type { Provenance } from '../explanation.ts';

const NAMES: Readonly<Partial<Record<RegionName, string>>> = { ramdisk: 'initrd', phys2mach: 'p2m list' };
/** Regions that hold nothing at first. */
const EMPTY: ReadonlySet<RegionName> = new Set(['padding', 'boot stack', 'xenstore', 'console']);

/** Answers for one domain. */
export function provenanceOf(
  { domainBase }: MachineLayout,
  plan: DomainLayout,
  pieces: readonly LoadPiece[],
  commandLine: string,
): (address: PhysAddr) => Provenance | null {
  const commandEnd = AMD64.startInfo.at.cmd_line + commandLineBytes(commandLine).length;
  return (address) => {
    const physical = address - domainBase * PAGE_SIZE;
    const pfn = Math.floor(physical / PAGE_SIZE);
    const region = plan.regions.find((r) => pfn >= r.pfn && pfn < r.pfn + r.pages);
    if (region === undefined || EMPTY.has(region.name)) return null;
    if (pfn === plan.hypercallPagePfn) return { what: 'hypercall page', offset: physical % PAGE_SIZE };
    const offset = physical - region.pfn * PAGE_SIZE;
    if (region.name === 'start info') {
      const start = AMD64.startInfo.at.cmd_line;
      const said = offset >= start && offset < commandEnd;
      return said ? { what: 'command line', offset: offset - start, given: true } : { what: 'start info', offset };
    }
    const what = NAMES[region.name] ?? region.name;
    if (region.name === 'ramdisk') return { what, offset, given: true };
    if (region.name !== 'kernel') return { what, offset };
    // of pieces that cover each other the last counts
    const loaded = physical - plan.kernelPfn * PAGE_SIZE;
    const piece = pieces.findLast((p) => loaded >= p.offset && loaded < p.offset + p.memsz);
    if (piece === undefined) return null;
    return { what: loaded < piece.offset + piece.content.length ? 'image' : 'bss', offset: loaded };
  };
}
