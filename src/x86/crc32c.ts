/** CRC-32C as the instruction CRC32 accumulates it (SDM vol. 2A "CRC32"). */

/** The polynomial 0x11EDC6F41, bits reversed. */
const POLYNOMIAL = 0x82f63b78;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  return crc;
});

/** `crc` after the low `bytes` bytes of `data`, lowest first. */
export function crc32c(crc: number, data: bigint, bytes: number): number {
  let out = crc;
  let word = Number(data & 0xffffffffn);
  for (let i = 0; i < bytes; i++) {
    if (i === 4) word = Number(data >> 32n);
    out = (out >>> 8) ^ TABLE[(out ^ word) & 0xff]!;
    word >>>= 8;
  }
  return out >>> 0;
}
