/** How much memory a domain may have: asked by whoever takes a size from a user, a file or another program. */
import { PAGE_SIZE } from './units.ts';

export const MIN_MEMORY_BYTES = 4 * 2 ** 20;
/** What fits into 4 GiB of linear memory beside tables, TLBs and decoded code (src/memory/layout.ts). */
export const MAX_MEMORY_BYTES = 3960 * 2 ** 20;

/** Why no domain can have so many bytes, in words; null when one can. */
export function memoryProblem(bytes: number): string | null {
  if (!(bytes >= MIN_MEMORY_BYTES)) return `a domain needs at least ${MIN_MEMORY_BYTES / 2 ** 20} MiB of memory`;
  if (bytes > MAX_MEMORY_BYTES) return `a domain can have at most ${MAX_MEMORY_BYTES / 2 ** 20} MiB of memory`;
  return bytes % PAGE_SIZE === 0 ? null : `memory comes in pages of ${PAGE_SIZE} bytes`;
}
