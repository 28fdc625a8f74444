/**
 * The flat segments Xen keeps in every guest's GDT above the guest's own entries (public/arch-x86/xen-x86_64.h).
 */

export const FLAT = { code32: 0xe023, stack: 0xe02b, code64: 0xe033, ring1Code: 0xe019, ring1Data: 0xe021 } as const;
/** First GDT entry that belongs to Xen: 14 pages of descriptors are the guest's. */
export const FIRST_RESERVED_GDT_ENTRY = 14 * 512;
/** Descriptor base and limit of a flat segment; 4 GiB limit, present, DPL in the access byte. */
export const FLAT_DESCRIPTORS: ReadonlyMap<number, bigint> = new Map([
  [FLAT.ring1Code & ~7, 0x00cfba000000ffffn],
  [FLAT.ring1Data & ~7, 0x00cfb2000000ffffn],
  [FLAT.code32 & ~7, 0x00cffa000000ffffn],
  [FLAT.stack & ~7, 0x00cff2000000ffffn],
  [FLAT.code64 & ~7, 0x00affa000000ffffn],
]);

/** Attributes, base and limit of a code or data descriptor, in the form of the vCPU state. */
export function unpackDescriptor(d: bigint): { base: bigint; limit: number; attributes: number } {
  const base = ((d >> 16n) & 0xffffffn) | (((d >> 56n) & 0xffn) << 24n);
  let limit = Number((d & 0xffffn) | ((d >> 32n) & 0xf0000n));
  const attributes = Number((d >> 40n) & 0xf0ffn);
  if (attributes & 0x8000) limit = ((limit << 12) | 0xfff) >>> 0;
  return { base, limit, attributes };
}
