/**
 * What a kernel image tells the domain builder about itself: Xen ELF notes, or the older `__xen_guest` string.
 *
 * The rules are libelf's: notes of PT_NOTE segments come first, then those of note sections, then the string; an
 * absent VIRT_BASE is 0; an absent PADDR_OFFSET is 0 with notes and VIRT_BASE with the string.
 *
 * Source: xen/include/public/elfnote.h, xen/include/public/features.h, xen/common/libelf/libelf-dominfo.c.
 */

import { EmulatorError } from '../../core/errors.ts';
import { hex, u64, type VirtAddr } from '../../core/units.ts';
import {
  type Elf,
  EM_386,
  EM_X86_64,
  fileNotes,
  latin1,
  sectionBytes,
  sectionNamed,
  sectionNotes,
} from '../../elf/elf.ts';
import { LONGEST_STRING } from '../../elf/limits.ts';
import { MOST_XEN_NOTES } from './limits.ts';

/** Owners of notes that an error names. */
const OWNERS_NAMED = 3;

/** Note types of owner "Xen" (public/elfnote.h). */
export const XEN_ELFNOTE = {
  ENTRY: 1,
  HYPERCALL_PAGE: 2,
  VIRT_BASE: 3,
  PADDR_OFFSET: 4,
  XEN_VERSION: 5,
  GUEST_OS: 6,
  GUEST_VERSION: 7,
  LOADER: 8,
  PAE_MODE: 9,
  FEATURES: 10,
  BSD_SYMTAB: 11,
  HV_START_LOW: 12,
  L1_MFN_VALID: 13,
  SUSPEND_CANCEL: 14,
  INIT_P2M: 15,
  MOD_START_PFN: 16,
  SUPPORTED_FEATURES: 17,
  PHYS32_ENTRY: 18,
  PHYS32_RELOC: 19,
} as const;

/** Feature names of the FEATURES string by bit number (public/features.h). */
const FEATURE_BITS: Record<string, number> = {
  writable_page_tables: 0,
  writable_descriptor_tables: 1,
  auto_translated_physmap: 2,
  supervisor_mode_kernel: 3,
  pae_pgdir_above_4gb: 4,
  hvm_callback_vector: 8,
  dom0: 11,
};

/** How an i386 guest wants its top-level page table; meaningless for amd64. */
export type PaeMode = 'no' | 'yes' | 'extended-cr3' | 'bimodal';

/** One image's parsed notes; absent strings are empty, other absent things null. */
export interface XenImageInfo {
  readonly source: 'notes' | 'guest-string';
  readonly bits: 32 | 64;
  readonly machine: number;
  readonly guestOs: string;
  readonly guestVersion: string;
  readonly xenVersion: string;
  readonly loader: string;
  readonly virtBase: VirtAddr;
  /** Where vCPU 0 starts; the ELF header's entry when no note names one. */
  readonly entry: VirtAddr;
  /** What `p_paddr` of a byte is ahead of its offset from `virtBase`. */
  readonly paddrOffset: bigint;
  /** Virtual address of the page the builder fills with hypercall stubs. */
  readonly hypercallPage: VirtAddr | null;
  readonly hvStartLow: bigint | null;
  readonly paeMode: PaeMode;
  /** The FEATURES string as written. */
  readonly features: string;
  /** Bits of XENFEAT_*: what the kernel cannot do without. */
  readonly requiredFeatures: number;
  /** Bits of XENFEAT_*: what the kernel can use, including what it requires. */
  readonly supportedFeatures: number;
  /** Where the kernel wants the p2m list mapped, outside the initial mapping. */
  readonly initP2m: VirtAddr | null;
  /** The kernel accepts a ramdisk that is not mapped, named by its first frame. */
  readonly modStartPfn: boolean;
  readonly bsdSymtab: boolean;
  readonly suspendCancel: boolean;
  /** Pairs of (mask, value) by which a not-present L1 entry still holds a machine frame. */
  readonly l1MfnValid: readonly { readonly mask: bigint; readonly value: bigint }[];
  /** Physical entry of the PVH boot path. */
  readonly phys32Entry: number | null;
  readonly phys32Reloc: { readonly align: number; readonly min: number; readonly max: number } | null;
}

/** What the notes say before defaults are applied. */
interface Raw {
  strings: { guestOs: string; guestVersion: string; xenVersion: string; loader: string; features: string };
  virtBase: bigint | null;
  entry: bigint | null;
  paddrOffset: bigint | null;
  hypercallPage: bigint | null;
  hvStartLow: bigint | null;
  initP2m: bigint | null;
  paeMode: PaeMode;
  supported: number;
  required: number;
  modStartPfn: boolean;
  bsdSymtab: boolean;
  suspendCancel: boolean;
  l1MfnValid: { mask: bigint; value: bigint }[];
  phys32Entry: number | null;
  phys32Reloc: { align: number; min: number; max: number } | null;
}

const emptyRaw = (): Raw => ({
  strings: { guestOs: '', guestVersion: '', xenVersion: '', loader: '', features: '' },
  virtBase: null,
  entry: null,
  paddrOffset: null,
  hypercallPage: null,
  hvStartLow: null,
  initP2m: null,
  paeMode: 'no',
  supported: 0,
  required: 0,
  modStartPfn: false,
  bsdSymtab: false,
  suspendCancel: false,
  l1MfnValid: [],
  phys32Entry: null,
  phys32Reloc: null,
});

const fail = (message: string): never => {
  throw new EmulatorError('E_IMAGE', message);
};

/** What `table` itself has under `key`, a word of the image's; not what every object has. */
const own = <T>(table: Record<string, T>, key: string): T | undefined =>
  Object.hasOwn(table, key) ? table[key] : undefined;

/** Adds the `|`-separated names of `text` to the feature sets; `!` marks what the kernel requires. */
function addFeatures(raw: Raw, text: string): void {
  raw.strings.features = text;
  for (const item of text.split('|')) {
    const needed = item.startsWith('!');
    const bit = own(FEATURE_BITS, needed ? item.slice(1) : item);
    if (bit !== undefined) {
      raw.supported |= 1 << bit;
      if (needed) raw.required |= 1 << bit;
    } else if (needed) fail(`the kernel requires the Xen feature "${item.slice(1)}", which does not exist`);
  }
}

/** The value of a 1, 2, 4 or 8 byte descriptor; anything else counts as 0, as in libelf. */
function numeric(desc: Uint8Array): bigint {
  if (![1, 2, 4, 8].includes(desc.length)) return 0n;
  return desc.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

/** The descriptor up to its NUL, {@link LONGEST_STRING} bytes at most. */
const text = (desc: Uint8Array): string => {
  const string = desc.subarray(0, LONGEST_STRING);
  const end = string.indexOf(0);
  return latin1(end < 0 ? string : string.subarray(0, end));
};

/** One function a note type: how it changes what is known. */
const NOTE_READERS: Record<number, (raw: Raw, desc: Uint8Array) => void> = {
  [XEN_ELFNOTE.ENTRY]: (raw, desc) => void (raw.entry = numeric(desc)),
  [XEN_ELFNOTE.HYPERCALL_PAGE]: (raw, desc) => void (raw.hypercallPage = numeric(desc)),
  [XEN_ELFNOTE.VIRT_BASE]: (raw, desc) => void (raw.virtBase = numeric(desc)),
  [XEN_ELFNOTE.PADDR_OFFSET]: (raw, desc) => void (raw.paddrOffset = numeric(desc)),
  [XEN_ELFNOTE.XEN_VERSION]: (raw, desc) => void (raw.strings.xenVersion = text(desc)),
  [XEN_ELFNOTE.GUEST_OS]: (raw, desc) => void (raw.strings.guestOs = text(desc)),
  [XEN_ELFNOTE.GUEST_VERSION]: (raw, desc) => void (raw.strings.guestVersion = text(desc)),
  [XEN_ELFNOTE.LOADER]: (raw, desc) => void (raw.strings.loader = text(desc)),
  [XEN_ELFNOTE.PAE_MODE](raw, desc) {
    const mode = text(desc);
    if (mode === 'yes') raw.paeMode = 'extended-cr3';
    if (mode.includes('bimodal')) raw.paeMode = 'bimodal';
  },
  [XEN_ELFNOTE.FEATURES]: (raw, desc) => addFeatures(raw, text(desc)),
  [XEN_ELFNOTE.BSD_SYMTAB]: (raw, desc) => void (raw.bsdSymtab = text(desc) === 'yes'),
  [XEN_ELFNOTE.HV_START_LOW]: (raw, desc) => void (raw.hvStartLow = numeric(desc)),
  [XEN_ELFNOTE.L1_MFN_VALID](raw, desc) {
    const word = desc.length % 16 === 0 ? 8 : 4;
    for (let at = 0; at + 2 * word <= Math.min(desc.length, LONGEST_STRING); at += 2 * word)
      raw.l1MfnValid.push({
        mask: numeric(desc.subarray(at, at + word)),
        value: numeric(desc.subarray(at + word, at + 2 * word)),
      });
  },
  [XEN_ELFNOTE.SUSPEND_CANCEL]: (raw, desc) => void (raw.suspendCancel = numeric(desc) !== 0n),
  [XEN_ELFNOTE.INIT_P2M]: (raw, desc) => void (raw.initP2m = numeric(desc)),
  [XEN_ELFNOTE.MOD_START_PFN]: (raw, desc) => void (raw.modStartPfn = numeric(desc) !== 0n),
  [XEN_ELFNOTE.SUPPORTED_FEATURES]: (raw, desc) => void (raw.supported |= Number(numeric(desc.subarray(0, 4)))),
  [XEN_ELFNOTE.PHYS32_ENTRY]: (raw, desc) => void (raw.phys32Entry = Number(numeric(desc) & 0xffffffffn)),
  [XEN_ELFNOTE.PHYS32_RELOC](raw, desc) {
    const word = (i: number): number => Number(numeric(desc.subarray(4 * i, 4 * i + 4)));
    if (desc.length >= 12) raw.phys32Reloc = { align: word(0), min: word(1), max: word(2) };
  },
};

/** A C integer literal (`0x` hex, leading 0 octal, else decimal) up to its first other character. */
function cInteger(value: string): bigint {
  const match = /^(0[xX][0-9a-fA-F]+|[0-9]+)/.exec(value.trim());
  if (match === null) return 0n;
  const digits = match[1]!;
  if (!/^0[0-7]+$/.test(digits)) return u64(BigInt(digits));
  return u64(BigInt(`0o${digits.slice(1)}`));
}

/** Letters of a value that libelf reads. */
const LONGEST_VALUE = 127;

/** One function a key of the `__xen_guest` string. */
const STRING_READERS: Record<string, (raw: Raw, value: string) => void> = {
  LOADER: (raw, value) => void (raw.strings.loader = value),
  GUEST_OS: (raw, value) => void (raw.strings.guestOs = value),
  GUEST_VER: (raw, value) => void (raw.strings.guestVersion = value),
  XEN_VER: (raw, value) => void (raw.strings.xenVersion = value),
  PAE(raw, value) {
    if (value === 'yes[extended-cr3]') raw.paeMode = 'extended-cr3';
    else if (value.startsWith('yes')) raw.paeMode = 'yes';
  },
  BSD_SYMTAB: (raw) => void (raw.bsdSymtab = true),
  VIRT_BASE: (raw, value) => void (raw.virtBase = cInteger(value)),
  VIRT_ENTRY: (raw, value) => void (raw.entry = cInteger(value)),
  ELF_PADDR_OFFSET: (raw, value) => void (raw.paddrOffset = cInteger(value)),
  HYPERCALL_PAGE: (raw, value) => void (raw.hypercallPage = u64(cInteger(value) << 12n)),
  FEATURES: (raw, value) => addFeatures(raw, value),
  SUPPORTED_FEATURES: (raw, value) => void (raw.supported |= Number(cInteger(value) & 0xffffffffn)),
};

/** The key=value list of a `__xen_guest` section; the hypercall page number becomes a virtual address. */
function readGuestString(section: Uint8Array): Raw {
  const raw = emptyRaw();
  for (const item of text(section).split(',')) {
    const equals = item.indexOf('=');
    const key = equals < 0 ? item : item.slice(0, equals);
    own(STRING_READERS, key)?.(raw, equals < 0 ? '' : item.slice(equals + 1, equals + 1 + LONGEST_VALUE));
  }
  if (raw.virtBase !== null && raw.hypercallPage !== null) raw.hypercallPage = u64(raw.hypercallPage + raw.virtBase);
  return raw;
}

/** Whose notes the image has instead: libelf ignores them, whatever their types. */
function others(elf: Elf): string {
  const owners = new Set([...fileNotes(elf), ...sectionNotes(elf)].map(({ owner }) => owner));
  if (owners.size === 0) return '';
  const named = [...owners].slice(0, OWNERS_NAMED).map((owner) => `"${owner}"`);
  return `; notes of ${named.join(', ')}${owners.size > OWNERS_NAMED ? ' and others' : ''} are ignored, as Xen ignores them`;
}

/** Finds the image's Xen description; E_IMAGE when there is none. */
function readRaw(elf: Elf): { raw: Raw; source: XenImageInfo['source'] } {
  for (const notes of [fileNotes(elf), sectionNotes(elf)]) {
    const ours = notes.filter((note) => note.owner === 'Xen');
    if (ours.length === 0) continue;
    if (ours.length > MOST_XEN_NOTES) fail(`the image has ${ours.length} notes of owner "Xen"`);
    const raw = emptyRaw();
    for (const note of ours) NOTE_READERS[note.type]?.(raw, note.desc);
    return { raw, source: 'notes' };
  }
  const section = sectionNamed(elf, '__xen_guest');
  if (section === null)
    return fail(
      `not a Xen kernel: the ELF file has neither notes of owner "Xen" nor a section "__xen_guest"${others(elf)}`,
    );
  return { raw: readGuestString(sectionBytes(elf, section)), source: 'guest-string' };
}

/**
 * The image's Xen description with libelf's defaults, for any platform; E_IMAGE when it has none or contradicts itself.
 */
export function readXenInfo(elf: Elf): XenImageInfo {
  const { raw, source } = readRaw(elf);
  if (raw.paddrOffset !== null && raw.virtBase === null)
    fail(`the image sets PADDR_OFFSET (${hex(raw.paddrOffset)}) without VIRT_BASE`);
  const virtBase = raw.virtBase ?? 0n;
  return {
    source,
    bits: elf.bits,
    machine: elf.machine,
    guestOs: raw.strings.guestOs,
    guestVersion: raw.strings.guestVersion,
    xenVersion: raw.strings.xenVersion,
    loader: raw.strings.loader,
    virtBase,
    entry: raw.entry ?? elf.entry,
    paddrOffset: raw.paddrOffset ?? (source === 'notes' ? 0n : virtBase),
    hypercallPage: raw.hypercallPage,
    hvStartLow: raw.hvStartLow,
    paeMode: raw.paeMode,
    features: raw.strings.features,
    requiredFeatures: raw.required >>> 0,
    supportedFeatures: raw.supported >>> 0,
    initP2m: raw.initP2m,
    modStartPfn: raw.modStartPfn,
    bsdSymtab: raw.bsdSymtab,
    suspendCancel: raw.suspendCancel,
    l1MfnValid: raw.l1MfnValid,
    phys32Entry: raw.phys32Entry,
    phys32Reloc: raw.phys32Reloc,
  };
}

/**
 * Checks that an image can start as an unprivileged amd64 PV domain: E_PLATFORM names the entry of an image for a
 * platform that is not implemented (i386, PVH, dom0 only), E_IMAGE one that Xen's builder itself refuses.
 */
export function requireAmd64Pv(elf: Elf, info: XenImageInfo): void {
  const platform = (message: string): never => {
    throw new EmulatorError('E_PLATFORM', message);
  };
  const forPv = info.loader.startsWith('generic') || info.guestOs.startsWith('linux');
  if (info.phys32Entry !== null && !hasPvEntry(elf))
    platform(`a PVH-only image: its only entry is PHYS32_ENTRY ${hex(info.phys32Entry)}; PVH is not implemented`);
  if (info.bits === 32 || info.machine === EM_386)
    platform(
      `an i386 image (ELFCLASS${info.bits}, e_machine ${info.machine}) with entry ${hex(info.entry)}; only amd64 PV is implemented`,
    );
  if (info.machine !== EM_X86_64) platform(`an image for e_machine ${info.machine} with entry ${hex(info.entry)}`);
  if ((info.requiredFeatures >> FEATURE_BITS.dom0!) & 1)
    platform(`a dom0-only image (FEATURES "${info.features}") with entry ${hex(info.entry)}`);
  if (!forPv)
    fail(`Xen loads only images with LOADER "generic" or GUEST_OS "linux", not "${info.loader}" and "${info.guestOs}"`);
  if (!info.xenVersion.startsWith('xen-3.0'))
    fail(`Xen loads only images built for "xen-3.0", this one says "${info.xenVersion}"`);
}

/** Whether the notes describe a PV start: an ENTRY, VIRT_BASE or HYPERCALL_PAGE, or the string form. */
function hasPvEntry(elf: Elf): boolean {
  const { raw, source } = readRaw(elf);
  return source === 'guest-string' || raw.entry !== null || raw.virtBase !== null || raw.hypercallPage !== null;
}
