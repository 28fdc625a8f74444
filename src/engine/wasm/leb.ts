/** Numbers in LEB128, as the binary format writes them (WebAssembly core specification, 5.2.2). */
/** Appends an unsigned 32-bit number. */
export const unsigned = (out: number[], value: number): void => {
  let v = value >>> 0;
  for (; v >= 0x80; v >>>= 7) out.push((v & 0x7f) | 0x80);
  out.push(v);
};
/** Appends a signed 32-bit number. */
export const signed = (out: number[], value: number): void => {
  let v = value | 0;
  for (;;) {
    const byte = v & 0x7f;
    v >>= 7;
    const done = (v === 0 && (byte & 0x40) === 0) || (v === -1 && (byte & 0x40) !== 0);
    out.push(done ? byte : byte | 0x80);
    if (done) return;
  }
};
/** Appends a signed 64-bit number. */
export const signed64 = (out: number[], value: bigint): void => {
  let v = BigInt.asIntN(64, value);
  if (v >= -0x80000000n && v <= 0x7fffffffn) {
    signed(out, Number(v));
    return;
  }
  for (;;) {
    const byte = Number(v & 0x7fn);
    v >>= 7n;
    const done = (v === 0n && (byte & 0x40) === 0) || (v === -1n && (byte & 0x40) !== 0);
    out.push(done ? byte : byte | 0x80);
    if (done) return;
  }
};
