/**
 * Where QEMU 7.2 (TCG) or Bochs 2.7 does not do what the manual says, line by line of the transcripts: what the line is by the manual,
 * and why each emulator's is another. Each has been read against the manual by hand; test/platform/idt-machine.test.ts takes the
 * manual's lines in place of QEMU's, and runs the kernels on both.
 */

const WHY = {
  dr6both: 'QEMU reports the first of several breakpoints met; every one that is met sets its bit (SDM vol. 3B 18.2.3)',
  dr6step:
    'QEMU takes the breakpoint before the single step and steps into the handler; both are one trap (SDM vol. 3B 18.3.1)',
  repeated: 'QEMU reports the breakpoint of a repeated store at the instruction, without RF (SDM vol. 3B 18.3.1.1)',
  heldback: 'QEMU does not hold the breakpoint of MOV SS back (SDM vol. 3A 6.8.3)',
  detect: 'QEMU does not know general detect (SDM vol. 3B 18.2.4)',
  limit: 'QEMU (TCG) checks neither limits nor null segments (SDM vol. 3A 5.3 and 5.4.1)',
  gate: 'QEMU takes 16 bytes an entry for the index in the error code of a 64-bit gate; it is vector * 8 + 2 (SDM vol. 3A 6.13)',
  ext: 'QEMU never sets the EXT bit of the error code (SDM vol. 3A 6.13)',
  icebp: 'QEMU does not know INT1 (SDM vol. 2A "INT n")',
  lock: 'QEMU lets LOCK stand before an instruction that does not take it (SDM vol. 2A "LOCK")',
  '1a': 'QEMU ignores the reg field of 8F (SDM vol. 2D table A-6, group 1A)',
  stack: 'QEMU raises #GP, not #SS, for a stack reference that is not canonical (SDM vol. 3A 6.15, interrupt 12)',
  edge: 'QEMU raises #PF, not #GP, when only the second half of an access is not canonical (SDM vol. 1 3.3.7.1)',
  cr8: 'QEMU ignores the reserved bits of CR8 (SDM vol. 3A 2.5)',
  nullss: 'QEMU takes a null SS with any RPL (SDM vol. 2B "MOV")',
  ltr: 'QEMU loads TR with a null selector (SDM vol. 2A "LTR")',
  rmw: 'QEMU reads first: a locked read-modify-write is a write in the error code (SDM vol. 3A 4.7)',
  rsvd: 'QEMU leaves the P bit clear in the error code of a reserved-bit violation (SDM vol. 3A 4.7)',
  accessed:
    'accessed bit of the first page when the second faults: either is allowed (SDM vol. 3A 4.8); Hindsight sets it only for accesses that happen',
  partial:
    "the first half is written when the second faults; Hindsight, like the manual's restartable faults, writes nothing (SDM vol. 3A 6.6)",
  wrap: 'an access over the end of a segment of 4 GiB wraps; it may raise #GP (SDM vol. 3A 5.3), as AMD family 1Ah does',
  area: 'the FXSAVE area is touched from its first byte on; AMD family 1Ah touches the last byte first, either is allowed',
  enter: 'QEMU does not test the stack at ENTER\'s final rSP (SDM vol. 2A "ENTER", exceptions)',
  ssnp: '#NP for an absent SS; it is #SS (SDM vol. 2A "IRET"), as measured on AMD family 1Ah',
  ld: 'QEMU takes a code segment with both L and D (SDM vol. 2A "IRET")',
  sysretflags: 'QEMU\'s SYSRET loses VIF (SDM vol. 2B "SYSRET": R11 & 3C7FD7H)',
  sysret:
    'QEMU faults at the target with CPL 3, as AMD\'s CPUs do; Intel\'s fault at SYSRET with CPL 0 (SDM vol. 2B "SYSRET")',
  cstar: 'QEMU enters CSTAR, as AMD\'s CPUs do; Intel\'s have SYSCALL in 64-bit mode only (SDM vol. 2B "SYSCALL")',
  twoss:
    "only the first of several loads of SS is sure to hold the trap back (SDM vol. 3A 6.8.3); QEMU's second does too",
  lss: "LSS does not hold traps back (SDM vol. 3A 6.8.3); QEMU's does",
  sti: 'STI holds back interrupts, not debug exceptions (SDM vol. 2B "STI"); QEMU\'s holds the trap back',
  rf: 'QEMU never sets RF in the image that a fault pushes (SDM vol. 3B 17.3.1.1)',
  rfclear: 'QEMU never clears RF; INT n pushes it as 0 (SDM vol. 3B 17.3.1.1)',
  dr6: 'bit 12 of DR6 is always 0 (SDM vol. 3B 17.2.3)',
  x87image:
    'QEMU stores 0 where the CPU stores ones: the upper halves of the 16-bit fields of the 32-bit x87 image (SDM vol. 1 8.1.10)',
  fxpad: 'QEMU does not write the six bytes behind an x87 register in the FXSAVE image; the CPUs write zeros',
  mxcsr: 'QEMU does not check the reserved bits of MXCSR (SDM vol. 2A "LDMXCSR", "FXRSTOR")',
  mf: 'QEMU reports an unmasked x87 exception at FWAIT only, and only ZE and IE of some instructions (SDM vol. 3A 6.15, interrupt 16)',
  c2: 'QEMU sets C2 at an invalid FSQRT; it is undefined (SDM vol. 2A "FSQRT"), Hindsight leaves it',
  stackfault: 'QEMU has no x87 stack faults (SDM vol. 1 8.5.1.1)',
  xm: 'QEMU has no #XM (SDM vol. 3A 6.15, interrupt 19)',
  xmud: 'QEMU has no #XM, nor the #UD in its place without CR4.OSXMMEXCPT',
  mmx: "QEMU's MMX writes leave the exponent alone; the CPU sets it to ones (SDM vol. 1 9.5.1). The further tag is left by a line above",
  norf: "Bochs pushes RF as 0 at a trap within a repeated store; all but the last iteration's have it set (SDM vol. 3B 17.3.1.1)",
  syscalltf:
    'Bochs goes by the TF before SYSCALL and SYSRET; the CPUs by the TF that these leave (Linux says so of SYSRET in entry_64.S; its SYSCALL entry masks TF to run unstepped)',
  sserror:
    'Bochs gives the selector of SS; without a change of stack the error code is EXT alone (SDM vol. 2A "INT n", vol. 3A 6.15, interrupt 12)',
  shiftaf: 'AF is undefined after a shift (SDM vol. 2B "SHR"), whose flags the test prints; Bochs clears it',
  iretorder: 'Bochs reads RFLAGS before RIP and SS before RSP; the manual pops upwards (SDM vol. 2A "IRET")',
  stale:
    'Bochs runs its decoded copy of an instruction across pages after the second is mapped elsewhere and invalidated (SDM vol. 3A 4.10.4.1)',
  es: 'QEMU 7.2 adds the ES base in 64-bit mode (SDM vol. 1 3.3.4)',
} as const;

/** Stands for the line of the transcript: Bochs prints what QEMU prints. */
export const AS_QEMU = Symbol('as QEMU');

/** One line: what the manual makes of it (without the test's name), and why an emulator's is another; null where it is the manual's. */
export interface Deviation {
  readonly manual: string;
  readonly qemu: string | null;
  readonly bochs: { readonly prints: string | typeof AS_QEMU; readonly why: string } | null;
}

type Why = keyof typeof WHY;

/** QEMU deviates alone. */
const line = (manual: string, why: Why): Deviation => ({ manual, qemu: WHY[why], bochs: null });
/** Both deviate, and to the same line. */
const both = (manual: string, why: Why): Deviation => ({
  manual,
  qemu: WHY[why],
  bochs: { prints: AS_QEMU, why: WHY[why] },
});
/** Bochs prints another line; QEMU the manual's, unless there is a reason for it too. */
const bochs = (manual: string, prints: string | typeof AS_QEMU, why: Why, qemu: Why | null = null): Deviation => ({
  manual,
  qemu: qemu === null ? null : WHY[qemu],
  bochs: { prints, why: WHY[why] },
});

/** Deviations by kernel and test. */
export const DEVIATIONS: Readonly<Record<string, Readonly<Record<string, Deviation>>>> = {
  exceptions: {
    'DB icebp': line('#=1 err=0 ip=1 cs=8 fl=2 ss=10 sp-=0 dr6=ffff0ff0', 'icebp'),
    'INT to a gate that is absent': line('#=b err=2b2 ip=8 cs=8 fl=2 ss=10 sp-=0', 'gate'),
    'INT to a gate of another type': line('#=d err=2ba ip=8 cs=8 fl=2 ss=10 sp-=0', 'gate'),
    'INT beyond the limit of the IDT': line('#=d err=302 ip=12 cs=8 fl=2 ss=10 sp-=0', 'gate'),
    'UD lock mov': line('#=6 err=0 ip=0 cs=8 fl=2 ss=10 sp-=0', 'lock'),
    'UD group 1A /1': line('#=6 err=0 ip=0 cs=8 fl=2 ss=10 sp-=0', '1a'),
    'SS push': line('#=c err=0 ip=a cs=8 fl=2 ss=10 sp-=ffff80000010eff8', 'stack'),
    'SS by rbp': line('#=c err=0 ip=a cs=8 fl=2 ss=10 sp-=0', 'stack'),
    'SS by rsp and index': line('#=c err=0 ip=a cs=8 fl=2 ss=10 sp-=0', 'stack'),
    'SS call': line('#=c err=0 ip=a cs=8 fl=2 ss=10 sp-=800000000010f000', 'stack'),
    'SS pop': line('#=c err=0 ip=a cs=8 fl=2 ss=10 sp-=800000000010f000', 'stack'),
    'SS leave': line('#=c err=0 ip=a cs=8 fl=2 ss=10 sp-=0', 'stack'),
    'GP load across the canonical edge': line('#=d err=0 ip=a cs=8 fl=2 ss=10 sp-=0', 'edge'),
    'GP mov cr8': line('#=d err=0 ip=5 cs=8 fl=2 ss=10 sp-=0', 'cr8'),
    'GP ss null with RPL': line('#=d err=0 ip=5 cs=8 fl=2 ss=0 sp-=0', 'nullss'),
    'ltr null': line('#=d err=0 ip=2 cs=8 fl=46 ss=10 sp-=0', 'ltr'),
  },
  paging: {
    'rmw absent': line('#=e err=2 ip=0 cs=8 fl=2 ss=10 sp-=0 cr2=40000010', 'rmw'),
    'reserved address bit': line('#=e err=9 ip=1e cs=8 fl=2 ss=10 sp-=0 cr2=40000000', 'rsvd'),
    'reserved address bit, write': line('#=e err=b ip=0 cs=8 fl=2 ss=10 sp-=0 cr2=40000000', 'rsvd'),
    'reserved bit of a large page': line('#=e err=9 ip=b cs=8 fl=2 ss=10 sp-=0 cr2=40200000', 'rsvd'),
    'NX while NXE is off': line('#=e err=9 ip=2f cs=8 fl=2 ss=10 sp-=0 cr2=40000000', 'rsvd'),
    'read across, second absent': both('#=e err=0 ip=31 cs=8 fl=2 ss=10 sp-=0 cr2=40001000 pte=3', 'accessed'),
    'rmw across, second absent': line(
      '#=e err=2 ip=13 cs=8 fl=2 ss=10 sp-=0 cr2=40001000 value=ffffff0000000000',
      'rmw',
    ),
    'movups store across, second absent': line(
      '#=e err=2 ip=3 cs=8 fl=2 ss=10 sp-=0 cr2=40001000 value=ffffff0000000000',
      'partial',
    ),
    'x87 store across, second absent': both(
      '#=e err=2 ip=2 cs=8 fl=2 ss=10 sp-=0 cr2=40001000 value=ffffff0000000000',
      'partial',
    ),
    'fxsave across, second absent': both('#=e err=2 ip=c cs=8 fl=2 ss=10 sp-=0 cr2=400011ef', 'area'),
    'sgdt across, second absent': both('#=e err=2 ip=c cs=8 fl=2 ss=10 sp-=0 cr2=40001000 value=0', 'partial'),
    'iret from an absent page': bochs(
      '#=e err=0 ip=5 cs=8 fl=2 ss=10 sp-=ffffffffc010e000 cr2=40001000',
      '#=e err=0 ip=5 cs=8 fl=2 ss=10 sp-=ffffffffc010e000 cr2=40001010',
      'iretorder',
    ),
    'iret across, second absent': bochs(
      '#=e err=0 ip=1f cs=8 fl=2 ss=10 sp-=ffffffffc010e018 cr2=40001000',
      '#=e err=0 ip=1f cs=8 fl=2 ss=10 sp-=ffffffffc010e018 cr2=40001008',
      'iretorder',
    ),
    'enter to an absent page': line(
      '#=e err=2 ip=a cs=8 fl=2 ss=10 sp-=ffffffffc010cff8 cr2=40001ff0 bp=40002000',
      'enter',
    ),
  },
  limits: {
    'code: running over the limit': bochs(
      '#=d err=0 ip=2 cs=68 fl=12 sp-=0',
      '#=d err=0 ip=2 cs=68 fl=2 sp-=0',
      'shiftaf',
    ),
    'code: an instruction across the limit': bochs(
      '#=d err=0 ip=1 cs=68 fl=12 sp-=0',
      '#=d err=0 ip=1 cs=68 fl=2 sp-=0',
      'shiftaf',
    ),
  },
  smc: {
    'another second page': bochs(
      'returned=8899cafe returned=badcafe ok',
      'returned=badcafe returned=badcafe ok',
      'stale',
    ),
    'the second page is gone': bochs(
      '#=e err=10 ip=3feff42e cs=8 fl=2 ss=10 sp-=8 cr2=40001000',
      '#=e err=10 ip=3feff433 cs=8 fl=2 ss=10 sp-=8 cr2=40001002',
      'stale',
    ),
  },
  privilege: {
    'int 0x20 from ring 3': line('#=d err=102 ip=0 cs=33 fl=2 ss=2b sp-=0', 'gate'),
    'int 1 from ring 3': line('#=d err=a ip=0 cs=33 fl=2 ss=2b sp-=0', 'gate'),
    'iret to an absent stack segment': both('#=c err=58 ip=0 cs=8 fl=2 ss=10 sp-=28', 'ssnp'),
    'iret to code both 64-bit and 32-bit': line('#=d err=58 ip=0 cs=8 fl=2 ss=10 sp-=28', 'ld'),
    'sysretq sets what R11 says': line('#=80 err=0 ip=2 cs=33 fl=2c3ed7 ss=2b sp-=0', 'sysretflags'),
    'sysretq out of canonical addresses': line('#=d err=0 ip=a cs=8 fl=2 ss=10 sp-=0', 'sysret'),
    'iret to syscall from compatibility mode': line('#=6 err=0 ip=11 cs=23 fl=3202 ss=2b sp-=0', 'cstar'),
  },
  debug: {
    'step over two loads of ss': line('#=1 err=0 ip=c cs=8 fl=102 ss=10 sp-=0 dr6=ffff4ff0', 'twoss'),
    'step over lss': line('#=1 err=0 ip=22 cs=8 fl=102 ss=10 sp-=0 dr6=ffff4ff0', 'lss'),
    'step over sti': line('#=1 err=0 ip=7 cs=8 fl=302 ss=10 sp-=0 dr6=ffff4ff0', 'sti'),
    'step over icebp': line('#=1 err=0 ip=7 cs=8 fl=102 ss=10 sp-=0 dr6=ffff0ff0', 'icebp'),
    'RF after a fault': line('#=6 err=0 ip=0 cs=8 fl=2 ss=10 sp-=0 rf=1', 'rf'),
    'RF after a page fault': line('#=e err=0 ip=0 cs=8 fl=2 ss=10 sp-=0 cr2=7ffffff0 rf=1', 'rf'),
    'RF set by iret lasts for one instruction': line('#=31 err=0 ip=16 cs=8 fl=2 ss=10 sp-=0 rf=0', 'rfclear'),
    'step over syscall that masks TF': bochs(
      'entered=2',
      '#=1 err=0 ip=4ec cs=8 fl=2 ss=10 sp-=0 dr6=ffff4ff0',
      'syscalltf',
    ),
    'step over sysretq': bochs(
      '#=1 err=0 ip=0 cs=33 fl=102 ss=2b sp-=0 dr6=ffff4ff0',
      '#=1 err=0 ip=1 cs=33 fl=102 ss=2b sp-=0 dr6=ffff4ff0',
      'syscalltf',
    ),
    'dr6 and dr7 as they read': line('dr6=ffffefff dr7=400 dr3=123456789abcdef0 ok', 'dr6'),
  },
  doublefault: {
    'UD, gate absent': line('#=b err=33 ip=8 cs=8 fl=2 ss=10 sp-=0', 'gate'),
    'UD, bad code segment': line('#=d err=11 ip=a cs=8 fl=2 ss=10 sp-=0', 'ext'),
    'UD, stack not canonical': bochs(
      '#=c err=1 ip=8 cs=8 fl=2 ss=10 sp-=0',
      '#=c err=11 ip=8 cs=8 fl=2 ss=10 sp-=0',
      'sserror',
      'ext',
    ),
    'INT, stack not canonical': bochs(
      '#=c err=0 ip=8 cs=8 fl=2 ss=10 sp-=0',
      '#=c err=10 ip=8 cs=8 fl=2 ss=10 sp-=0',
      'sserror',
    ),
    'INT, gate absent': line('#=b err=18a ip=8 cs=8 fl=2 ss=10 sp-=0', 'gate'),
  },
  protected: {
    'reserved bit of a PAE entry': line('#=e err=9 ip=11 cs=18 fl=2 sp-=0 cr2=400000', 'rsvd'),
  },
  breakpoints: {
    'two at once': line('#=1 err=0 ip=c cs=8 fl=2 ss=10 sp-=0 dr6=ffff0ff3', 'dr6both'),
    'with a single step': line('#=1 err=0 ip=b cs=8 fl=102 ss=10 sp-=0 dr6=ffff4ff1', 'dr6step'),
    'in a repeated store': bochs(
      '#=1 err=0 ip=0 cs=8 fl=2 ss=10 sp-=0 dr6=ffff0ff1 cx=2 rf=1',
      AS_QEMU,
      'norf',
      'repeated',
    ),
    'in the last of a repeated store': line('#=1 err=0 ip=2 cs=8 fl=2 ss=10 sp-=0 dr6=ffff0ff1 cx=0 rf=0', 'repeated'),
    'held back by mov ss': line('#=1 err=0 ip=8 cs=8 fl=2 ss=10 sp-=0 dr6=ffff0ff1', 'heldback'),
    'general detect': line('#=1 err=0 ip=0 cs=8 fl=2 ss=10 sp-=0 dr6=ffff2ff0 dr7=400', 'detect'),
  },
  modes: {
    'page fault across 4 GiB in compatibility mode': both('#=d err=0 ip=0 cs=18 fl=2 ss=10 sp-=0', 'wrap'),
    'load through a null segment in compatibility mode': line('#=d err=0 ip=0 cs=18 fl=46 ss=10 sp-=0', 'limit'),
    'a data segment with a base': line('value=88 flat=88 ok', 'es'),
  },
  fpu: {
    'fninit and fnsave': line(
      'ffff037f ffff0000 ffffffff 0 0 0 ffff0000 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 eeeeeeee ok',
      'x87image',
    ),
    'fnstenv with values': line('ffff037f ffff2800 ffff07ff 0 0 0 0 eeeeeeee ok', 'x87image'),
    'fnsave with values': line(
      'ffff037f ffff2800 ffff07ff 0 0 0 0 0 0 c2358000 daa22168 4000c90f 0 80000000 3fff 0 0 0 0 0 0 0 0 0 0 0 0 eeeeeeee sw=0 ok',
      'x87image',
    ),
    fxsave: line(
      '3000037f c0 0 0 0 0 1f80 5c17f0bc b8aa3b29 3fff 0 0 80000000 3fff 0 0 0 0 0 ffffffff ffffffff ffffffff ffffffff ffffffff 1fffffff ffffffff 1fffffff 0 0 0 0 eeeeeeee eeeeeeee ok',
      'fxpad',
    ),
    'fxrstor with reserved MXCSR bits': line('#=d err=0 ip=b cs=8 fl=2 ss=10 sp-=0', 'mxcsr'),
    'ldmxcsr with reserved bits': line('#=d err=0 ip=b cs=8 fl=2 ss=10 sp-=0', 'mxcsr'),
    'MF divide by zero at the next instruction': line('sw=b084 #=10 err=0 ip=2f cs=8 fl=46 ss=10 sp-=0 sw=b084', 'mf'),
    'MF invalid': line('#=10 err=0 ip=19 cs=8 fl=2 ss=10 sp-=0 sw=b881', 'c2'),
    'MF stack underflow': line('#=10 err=0 ip=15 cs=8 fl=2 ss=10 sp-=0 sw=80c1', 'stackfault'),
    'MF stack overflow': line('#=10 err=0 ip=25 cs=8 fl=2 ss=10 sp-=0 sw=82c1', 'stackfault'),
    'MF by unmasking with fldcw': line('sw=b884 #=10 err=0 ip=2e cs=8 fl=46 ss=10 sp-=0', 'mf'),
    'MF at an MMX instruction': line('#=10 err=0 ip=19 cs=8 fl=2 ss=10 sp-=0', 'mf'),
    'XM divide by zero': line('#=13 err=0 ip=20 cs=8 fl=2 ss=10 sp-=0 xmm0=3f800000 mxcsr=1d84', 'xm'),
    'XM invalid compare': line('#=13 err=0 ip=22 cs=8 fl=d7 ss=10 sp-=0 mxcsr=1f01', 'xm'),
    'XM inexact conversion': line('#=13 err=0 ip=21 cs=8 fl=2 ss=10 sp-=0 mxcsr=fa0', 'xm'),
    'XM overflow keeps the destination': line('#=13 err=0 ip=1c cs=8 fl=2 ss=10 sp-=0 xmm0=7f7fffff mxcsr=1ba8', 'xm'),
    'UD without OSXMMEXCPT': line('#=6 err=0 ip=2b cs=8 fl=2 ss=10 sp-=0', 'xmud'),
    'MMX makes the x87 stack full': line('tags=1080 sw=0 st3=12345678 st3h=ffff ok', 'mmx'),
  },
};

/** A line that AMD's processors print otherwise than Intel's, by the APM; whether QEMU does so too when it is told to be AMD's. */
export interface VendorLine {
  readonly amd: string;
  readonly onQemu: boolean;
}

const amd = (line: string, onQemu = false): VendorLine => ({ amd: line, onQemu });

/**
 * What depends on the vendor, by kernel and test. SYSRET leaves the RPL of SS as STAR has it and takes any RIP, SYSENTER and SYSEXIT are none
 * in long mode, SYSCALL enters CSTAR from compatibility mode, far pointers in memory have no 64-bit offset (APM vol. 3).
 */
export const BY_VENDOR: Readonly<Record<string, Readonly<Record<string, VendorLine>>>> = {
  debug: { 'step over sysretq': amd('#=1 err=0 ip=0 cs=33 fl=102 ss=28 sp-=0 dr6=ffff4ff0') },
  modes: { 'far jump of 64 bits through memory': amd('#=d err=0 ip=16 cs=8 fl=2 ss=10 sp-=0') },
  privilege: {
    sysretq: amd('cs=33 ss=28 #=80 err=0 ip=26 cs=33 fl=3246 ss=28 sp-=0'),
    'sysretq sets what R11 says': amd('#=80 err=0 ip=2 cs=33 fl=2c3ed7 ss=28 sp-=0'),
    sysretl: amd('c #=80 err=0 ip=1d cs=23 fl=3202 ss=28 sp-=0'),
    'sysretq out of canonical addresses': amd('#=d err=0 ip=7fffffefd356 cs=33 fl=3246 ss=28 sp-=2000'),
    'iret to syscall from compatibility mode': amd('CSTAR', true),
    'sysenter without its segment': amd('#=6 err=0 ip=11 cs=8 fl=2 ss=10 sp-=0', true),
    'sysenter from ring 3': amd('#=6 err=0 ip=0 cs=33 fl=3246 ss=2b sp-=0', true),
    'sysexit to 64-bit code': amd('#=6 err=0 ip=fffffffffffffffd cs=8 fl=3246 ss=10 sp-=0', true),
  },
};
