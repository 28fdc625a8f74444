import { ascii, concat, le } from '../../support/elf.ts';

/** A bzImage of one setup sector around `payload`. */
export function bzImage(payload: Uint8Array): Uint8Array {
  const setup = new Uint8Array(1024);
  setup[0x1f1] = 1;
  setup.set(ascii('HdrS'), 0x202);
  setup.set(le(0x20f, 2), 0x206);
  setup.set(le(0x10, 4), 0x248);
  setup.set(le(payload.length, 4), 0x24c);
  return concat(setup, new Uint8Array(0x10), payload, ascii('trailer'));
}

/** `packed` followed by the size it unpacks to, as the kernel's build has it. */
export const sized = (packed: Uint8Array, size: number): Uint8Array => concat(packed, le(size, 4));

/** A legacy LZ4 frame of one block of literals only. */
export function lz4Literals(content: Uint8Array): Uint8Array {
  const rest = content.length - 15;
  const lengths = [...new Array(Math.floor(rest / 255)).fill(255), rest % 255];
  const block = concat(Uint8Array.of(0xf0, ...lengths), content);
  return concat(le(0x184c2102, 4), le(block.length, 4), block);
}
