import { describe, expect, test } from 'vitest';
import { crc32, decodeXz } from '../../../tools/guests/xz.ts';

/** `xz --x86 --lzma2=dict=64KiB --check=crc32 --block-size=256` (XZ Utils 5.4.1) of what branches() gives. */
const PACKED = Buffer.from(
  '/Td6WFoAAAFpIt42AgEEACEBCADSuXTL4AD/AMldAHQBGN5s499nfHFByGpABhtiWiLxPrRkByydoYS4CNix9avuzoPXaVfjopizcHJcO4bA37GH+Lw0MVoOSzvwW/lBmktIBIFuja5D/RSJkbgXwOzPn1msDQe49Qmlp171esy3a0u3Qb0oNF3cW8Ip6COCfFxIGiGQpq/LOWo/OWkxSAiOb3Vq2AT0J4qQ3JG4jCOJvGbfE5FpZUwt/oFmvwaoVyBzCB3i4HNc2CNRkTFTWanqp37iFpNm+oDVUhr2VpbuguXrmbc8AAAAAABObLovAgEEACEBCADSuXTL4AD/AMpdAH2/7dBSWXQs7BBOI+JOIka7MdqDyjWoksp5SWoXda7QQ8slzzRRWz7hoTk4VQxNAKEP/yq+4woVFrnK5LfOaCCJRUSKDeR4klwWK5Oseepbi5Q1CNSg62Ugj32XrBbj+zAOCuZGgzV6ydJOJA9SHxeyFpk0v6t2YRwQdY5XtHQVAWTmvw9osLDZJkABurmSSx3GXDKyZOWcpvKktuhbrYx4vEzGVtRC9l9uWBdDii6sn6Ue/1jfTqLgHN+MN6b/wUUkW8F4EbxKIwAAAACG5DotAgEEACEBCADSuXTL4AB0AGNdAAWAMpLz0YP3+/XR9IjGEJIBjRB392zAh1KXUZIqfoWTgdsQt7Rk6N2Y7ZnHkwM0vLisMc0DeskgHc9/eEtlxxHJWifdf4ymnygrZWDIue4VJUujhy/W8XEElwmkg4qE8d10wQAAd1OIKQAD4QGAAuIBgAJ7dXOSXY2b41FAAwAAAAABWVo=',
  'base64',
);

/** Bytes full of CALL and JMP opcodes, some overlapping, some with operands that are no sign extension. */
function branches(): Uint8Array {
  const bytes: number[] = [];
  let state = 12345;
  for (let i = 0; i < 160; i++) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    const random = state >> 16;
    if (random % 8 < 2) bytes.push(0xe8, (random * 37) & 255, ((random * 37) >> 8) & 15, 0, 0);
    else if (random % 8 === 2) bytes.push(0xe9, ~random & 255, ~(random >> 8) | 0xf8, 0xff, 0xff);
    else if (random % 8 === 3) bytes.push(0xe8, 0xe9, random & 255, 0, 0);
    else if (random % 8 === 4) bytes.push(0xe8, 0xff, 0xe8, 0, 0xff);
    else bytes.push(random & 255, 0x48);
  }
  return Uint8Array.from(bytes);
}

describe('xz with the x86 branch filter', () => {
  test('crc32 has the check value of its definition', () => {
    expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926);
  });

  test('decodes what XZ Utils packed, in several blocks', async () => {
    expect(Buffer.from(await decodeXz(PACKED)).equals(Buffer.from(branches()))).toBe(true);
  });

  test('refuses a truncated file', async () => {
    await expect(decodeXz(PACKED.subarray(0, -4))).rejects.toThrow('footer');
  });

  test('refuses a flipped bit anywhere', async () => {
    for (let at = 0; at < PACKED.length; at += 5) {
      const damaged = Buffer.from(PACKED);
      damaged[at]! ^= 1;
      const outcome = await decodeXz(damaged).then(
        (content) => Buffer.from(content).equals(Buffer.from(branches())),
        () => 'refused',
      );
      expect(outcome, `byte ${at}`).not.toBe(false);
    }
  });
});
