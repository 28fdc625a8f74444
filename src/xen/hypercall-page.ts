/** The hypercall page (xen/arch/x86/hypercall.c init_hypercall_page): a stub a number, written by the builder and by MSR 0x40000000. */
import { type MachineFrame, PAGE_SIZE } from '../core/units.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { HYPERCALL } from './abi/numbers.ts';

/** What fills the page between the stubs. */
const INT3 = 0xcc;

/** One 32-byte stub a hypercall number: save rcx and r11, number to eax, SYSCALL, and back; iret does not come back. */
export function writeHypercallPage(memory: GuestMemory, mfn: MachineFrame): void {
  const page = new Uint8Array(PAGE_SIZE).fill(INT3);
  for (let number = 0; number < PAGE_SIZE / 32; number++) {
    const iret = number === HYPERCALL.iret;
    const stub = iret
      ? [0x51, 0x41, 0x53, 0x50, 0xb8, number, 0, 0, 0, 0x0f, 0x05]
      : [0x51, 0x41, 0x53, 0xb8, number, 0, 0, 0, 0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3];
    page.set(stub, number * 32);
  }
  memory.writeBytes(mfn * PAGE_SIZE, page);
}
