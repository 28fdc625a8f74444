/** Bytes full of E8 and E9, near-misses and overlaps of them, as the x86 branch filter meets them in code; fixtures are made of them. */
export function codeLike(seed: number, size: number): Uint8Array {
  const out: number[] = [];
  let x = seed;
  const next = (): number => {
    x = Number((BigInt(x) * 1103515245n + 12345n) & 0x7fffffffn);
    return x >> 16;
  };
  while (out.length < size) {
    const kind = next() % 8;
    if (kind < 3) out.push(kind ? 0xe8 : 0xe9, next() & 15, next() & 3, 0, next() & 1 ? 0 : 255);
    else if (kind === 3) out.push(0xe8, 0xe8, 0xe9, next() & 255, 0);
    else if (kind === 4) out.push(0x48, 0x8b, 0x45, next() & 15);
    else if (kind === 5) out.push(0xff, 0xe8, 0, 0, next() & 255, 0xff, 0);
    else out.push(...[0x90, 0x55, 0x48, 0x89, 0xe5].slice(0, 1 + (next() % 5)));
  }
  return Uint8Array.from(out.slice(0, size));
}
