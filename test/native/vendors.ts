/**
 * Where AMD's and Intel's processors do something else by design, and what Hindsight does: the table "Vendors" of docs/instructions.md.
 * Sources: the two manuals, and Xen's instruction emulator, which asks the vendor at the same places (xen/arch/x86/x86_emulate).
 */

export interface VendorDifference {
  readonly what: string;
  readonly amd: string;
  readonly intel: string;
  /** Null where each policy follows its own vendor. */
  readonly ours: string | null;
  /** The test that holds it. */
  readonly test: string;
}

const DECODER = 'test/x86/decode-iced.test.ts';
const TRANSCRIPTS = 'test/platform/idt-machine.test.ts';
const PRIVILEGE = 'test/x86/system/privilege.test.ts';
const ENTRY = 'test/xen/pv/entry.test.ts';

export const VENDOR_DIFFERENCES: readonly VendorDifference[] = [
  {
    what: '66 on a near branch, call or return in 64-bit mode',
    amd: '16 bits: the target is cut, two bytes are pushed',
    intel: 'ignored',
    ours: null,
    test: DECODER,
  },
  {
    what: 'REX.W on far CALL and JMP through memory, LSS, LFS, LGS',
    amd: 'ignored: an offset of 32 bits',
    intel: 'an offset of 64 bits',
    ours: null,
    test: `${DECODER}, ${TRANSCRIPTS}`,
  },
  { what: '66 on MOVSXD', amd: 'reads four bytes', intel: 'reads two bytes', ours: null, test: DECODER },
  { what: 'UD0', amd: 'two bytes', intel: 'with a ModRM byte', ours: null, test: DECODER },
  {
    what: 'SYSCALL outside 64-bit mode',
    amd: 'to CSTAR from compatibility mode, to EIP of STAR in legacy mode',
    intel: '#UD',
    ours: null,
    test: `${TRANSCRIPTS}, ${PRIVILEGE}, ${ENTRY}`,
  },
  {
    what: 'SYSRET outside 64-bit mode',
    amd: 'to ECX, IF set, no other flag',
    intel: '#UD',
    ours: null,
    test: PRIVILEGE,
  },
  {
    what: 'SYSRET to an address that is not canonical',
    amd: '#GP at the target, CPL 3',
    intel: '#GP at SYSRET, CPL 0',
    ours: null,
    test: TRANSCRIPTS,
  },
  {
    what: 'SS after SYSRET',
    amd: 'selector of STAR as it is, base, limit and type as they were',
    intel: 'RPL 3, flat',
    ours: null,
    test: TRANSCRIPTS,
  },
  {
    what: 'SYSENTER and SYSEXIT in long mode',
    amd: '#UD (a PV guest finds no SEP in CPUID)',
    intel: 'as in legacy mode',
    ours: null,
    test: `${TRANSCRIPTS}, ${PRIVILEGE}, ${ENTRY}`,
  },
  {
    what: 'LOCK MOV CR0',
    amd: 'CR8 where CPUID has AltMovCr8, which no policy has: #UD',
    intel: '#UD',
    ours: null,
    test: DECODER,
  },
  {
    what: 'a null selector into DS, ES, FS or GS',
    amd: 'before NullSelectorClearsBase the base stays',
    intel: 'clears the base',
    ours: 'clears it: a guest that CPUID does not tell cannot rely on either',
    test: 'test/x86/system',
  },
  {
    what: 'REP with a count of 0 and 32-bit addresses in 64-bit mode',
    amd: 'the upper halves of the registers stay',
    intel: 'they are cleared',
    ours: 'they stay',
    test: 'test/x86/silicon-vectors.test.ts',
  },
  {
    what: 'the upper half of a system descriptor that LAR, LSL, VERR and VERW look at',
    amd: 'is read in long mode, also in compatibility mode',
    intel: 'is read in 64-bit mode',
    ours: 'is not looked at',
    test: 'test/x86/system',
  },
  {
    what: 'FXSAVE of the last x87 instruction and operand',
    amd: 'before RstrFpErrPtrs only with an exception pending',
    intel: 'always',
    ours: 'always',
    test: 'test/x86/silicon-vectors.test.ts',
  },
  {
    what: 'flags of a string comparison that faults',
    amd: 'those of the last iteration',
    intel: 'those before the instruction',
    ours: 'those of the last iteration',
    test: 'test/x86/silicon-vectors.test.ts',
  },
  {
    what: 'PUSH of a segment register',
    amd: 'writes the whole slot',
    intel: 'may write two bytes of it',
    ours: 'the whole slot',
    test: 'test/x86/silicon-vectors.test.ts',
  },
];
