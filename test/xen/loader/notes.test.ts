import { describe, expect, test } from 'vitest';
import { readElf } from '../../../src/elf/elf.ts';
import { readXenImage } from '../../../src/xen/loader/image.ts';
import { readXenInfo, requireAmd64Pv, type XenImageInfo } from '../../../src/xen/loader/notes.ts';
import { ascii, buildElf, concat, type ElfSpec, le, note, pvNotes, xenNote } from '../../support/elf.ts';
import { errorOf } from '../../support/error.ts';
import { guest, hasGuest } from '../../support/guests.ts';

const BASE = 0xffffffff80000000n;
const text = { vaddr: BASE + 0x1000000n, paddr: 0x1000000n, content: new Uint8Array(64), memsz: 0x2000 };
const info = (spec: ElfSpec): XenImageInfo => readXenInfo(readElf(buildElf(spec)));
const withNotes = (...notes: Uint8Array[]): ElfSpec => ({
  segments: [text, { type: 4, content: concat(...notes) }],
});
const withString = (value: string): ElfSpec => ({
  segments: [text],
  sections: [{ name: '__xen_guest', type: 1, content: ascii(`${value}\0`) }],
});
const refusal = (spec: ElfSpec): string => {
  const elf = readElf(buildElf(spec));
  return errorOf(() => requireAmd64Pv(elf, readXenInfo(elf)));
};

describe('notes', () => {
  test('[D-10] every note type of elfnote.h reaches its field', () => {
    const parsed = info(
      withNotes(
        xenNote(1, BASE + 0x1000040n),
        xenNote(2, BASE + 0x1001000n),
        xenNote(3, BASE),
        xenNote(4, 0n),
        xenNote(5, 'xen-3.0'),
        xenNote(6, 'linux'),
        xenNote(7, '2.6'),
        xenNote(8, 'generic'),
        xenNote(9, 'yes'),
        xenNote(10, '!writable_page_tables|pae_pgdir_above_4gb'),
        xenNote(11, 'yes'),
        xenNote(12, 0xffff800000000000n),
        note('Xen', 13, concat(le(1, 8), le(1, 8))),
        note('Xen', 14, le(1, 4)),
        xenNote(15, 0x8000000000n),
        xenNote(16, 1n),
        note('Xen', 17, le(0x8801, 4)),
        note('Xen', 18, le(0x1000850, 4)),
        note('Xen', 19, concat(le(0x200000, 4), le(0x1000000, 4), le(0xffffffff, 4))),
        xenNote(99, 1n),
        note('GNU', 3, le(BASE, 8)),
      ),
    );
    expect(parsed).toEqual({
      source: 'notes',
      bits: 64,
      machine: 62,
      entry: BASE + 0x1000040n,
      hypercallPage: BASE + 0x1001000n,
      virtBase: BASE,
      paddrOffset: 0n,
      xenVersion: 'xen-3.0',
      guestOs: 'linux',
      guestVersion: '2.6',
      loader: 'generic',
      paeMode: 'extended-cr3',
      features: '!writable_page_tables|pae_pgdir_above_4gb',
      requiredFeatures: 1,
      supportedFeatures: 0x8811,
      bsdSymtab: true,
      hvStartLow: 0xffff800000000000n,
      l1MfnValid: [{ mask: 1n, value: 1n }],
      suspendCancel: true,
      initP2m: 0x8000000000n,
      modStartPfn: true,
      phys32Entry: 0x1000850,
      phys32Reloc: { align: 0x200000, min: 0x1000000, max: 0xffffffff },
    });
  });

  test('[D-10] without notes for them VIRT_BASE is 0, PADDR_OFFSET 0 and ENTRY the header entry', () => {
    const parsed = info({ ...withNotes(xenNote(8, 'generic')), entry: 0x40n });
    expect(parsed).toMatchObject({ virtBase: 0n, paddrOffset: 0n, entry: 0x40n, hypercallPage: null, initP2m: null });
  });

  test('[D-10] notes of a note section count when no segment has any', () => {
    const spec = { segments: [text], sections: [{ name: '.note.Xen', type: 7, content: xenNote(8, 'generic') }] };
    expect(info(spec).loader).toBe('generic');
  });

  test('[D-10] a required feature that does not exist is refused', () => {
    expect(errorOf(() => info(withNotes(xenNote(10, '!teleport'))))).toContain('E_IMAGE: the kernel requires');
    expect(info(withNotes(xenNote(10, 'teleport'))).supportedFeatures).toBe(0);
  });
});

describe('the __xen_guest string', () => {
  test('[D-11] NetBSD i386: the hypercall page number becomes an address behind VIRT_BASE', () => {
    const parsed = info(
      withString(
        'GUEST_OS=netbsd,GUEST_VER=3.99,XEN_VER=xen-3.0,LOADER=generic,VIRT_BASE=0xc0000000,ELF_PADDR_OFFSET=0xc0000000,' +
          'VIRT_ENTRY=0xc0100000,HYPERCALL_PAGE=0x00000101,BSD_SYMTAB=yes,PAE=yes[extended-cr3]',
      ),
    );
    expect(parsed).toMatchObject({
      source: 'guest-string',
      guestOs: 'netbsd',
      guestVersion: '3.99',
      xenVersion: 'xen-3.0',
      loader: 'generic',
      virtBase: 0xc0000000n,
      paddrOffset: 0xc0000000n,
      entry: 0xc0100000n,
      hypercallPage: 0xc0101000n,
      bsdSymtab: true,
      paeMode: 'extended-cr3',
    });
  });

  test('[D-11] NetBSD amd64, as in the recorded trace', () => {
    const parsed = info(
      withString(`LOADER=generic,XEN_VER=xen-3.0,VIRT_BASE=0xffffffff80000000,HYPERCALL_PAGE=0x101,BSD_SYMTAB=yes`),
    );
    // PADDR_OFFSET defaults to VIRT_BASE for the string form.
    expect(parsed).toMatchObject({ paddrOffset: BASE, hypercallPage: 0xffffffff80101000n });
  });

  test('[D-11] features, decimal numbers, PAE=yes and unknown keys', () => {
    const parsed = info(
      withString('FEATURES=!writable_descriptor_tables,SUPPORTED_FEATURES=16,PAE=yes,COLOUR=blue,VIRT_BASE=4096'),
    );
    expect(parsed).toMatchObject({ requiredFeatures: 2, supportedFeatures: 18, paeMode: 'yes', virtBase: 4096n });
    expect(parsed.bsdSymtab).toBe(false);
  });

  test('[D-11] mini-os: page number 2', () => {
    expect(info(withString('VIRT_BASE=0x0,HYPERCALL_PAGE=0x2')).hypercallPage).toBe(0x2000n);
  });
});

describe('refusals', () => {
  test('[D-10] E_IMAGE: notes of other owners are said to be ignored', () => {
    const others = withNotes(note('GNU', 3, le(BASE, 8)), note('Mach', 1, le(BASE, 8)), note('Mach', 2, le(BASE, 8)));
    expect(errorOf(() => info(others))).toMatch(/; notes of "GNU", "Mach" are ignored, as Xen ignores them$/);
    const many = withNotes(...['a', 'b', 'c', 'd'].map((owner) => note(owner, 1, le(0, 8))));
    expect(errorOf(() => info(many))).toMatch(/; notes of "a", "b", "c" and others are ignored/);
  });
  test('[D-10] E_IMAGE: neither notes nor string', () => {
    expect(errorOf(() => info({ segments: [text] }))).toMatch(/^E_IMAGE: not a Xen kernel: .*"Xen".*"__xen_guest"/);
  });

  test('[D-10] E_IMAGE: PADDR_OFFSET without VIRT_BASE', () => {
    expect(errorOf(() => info(withNotes(xenNote(4, 0x1000n))))).toBe(
      'E_IMAGE: the image sets PADDR_OFFSET (0x1000) without VIRT_BASE',
    );
  });

  test('[D-10] E_PLATFORM: a PVH-only image, naming PHYS32_ENTRY', () => {
    const notes = withNotes(xenNote(6, 'linux'), xenNote(5, 'xen-3.0'), note('Xen', 18, le(0x1000850, 4)));
    expect(refusal(notes)).toMatch(/^E_PLATFORM: .*PVH-only.*PHYS32_ENTRY 0x1000850/);
    expect(refusal({ ...notes, bits: 32 })).toMatch(/^E_PLATFORM: .*PHYS32_ENTRY 0x1000850/);
  });

  test('[D-10] a kernel with both entries is a PV image', () => {
    const both = pvNotes(BASE, BASE + 0x1000000n, note('Xen', 18, le(0x1000850, 4)));
    const elf = readElf(buildElf(withNotes(both)));
    expect(() => requireAmd64Pv(elf, readXenInfo(elf))).not.toThrow();
  });

  test('[D-10] E_PLATFORM: an i386 image, naming its entry', () => {
    const notes = concat(xenNote(8, 'generic'), xenNote(5, 'xen-3.0'), note('Xen', 1, le(0xc0100000, 4)));
    expect(refusal({ ...withNotes(notes), bits: 32 })).toMatch(/^E_PLATFORM: an i386 image .*0xc0100000/);
    expect(refusal({ ...withNotes(notes), machine: 3 })).toMatch(/^E_PLATFORM: an i386 image/);
    expect(refusal({ ...withNotes(notes), machine: 183 })).toMatch(/^E_PLATFORM: an image for e_machine 183/);
  });

  test('[D-10] E_PLATFORM: a kernel that requires dom0', () => {
    expect(refusal(withNotes(pvNotes(BASE, BASE, xenNote(10, '!dom0'))))).toMatch(/^E_PLATFORM: a dom0-only image/);
  });

  test('[D-10] E_IMAGE: what Xen refuses by LOADER, GUEST_OS and XEN_VERSION', () => {
    expect(refusal(withNotes(xenNote(3, BASE), xenNote(6, 'plan9')))).toMatch(/^E_IMAGE: .*"plan9"/);
    expect(refusal(withNotes(xenNote(3, BASE), xenNote(8, 'generic'), xenNote(5, 'xen-2.0')))).toMatch(
      /^E_IMAGE: .*"xen-2.0"/,
    );
  });

  test.each([
    ['entry outside', pvNotes(BASE, BASE), /the entry 0xffffffff80000000 is outside/],
    ['p2m inside', pvNotes(BASE, text.vaddr, xenNote(15, text.vaddr)), /INIT_P2M .* is inside the kernel/],
    ['base above', pvNotes(BASE, text.vaddr, xenNote(4, 0x2000000n)), /VIRT_BASE .* is above the kernel/],
    ['hypercall page', pvNotes(BASE, text.vaddr, xenNote(2, BASE - 4n)), /HYPERCALL_PAGE .* is not behind VIRT_BASE/],
  ])('[D-14] E_IMAGE: addresses that contradict the segments: %s', (_, notes, message) => {
    const error = errorOf(() => readXenImage(buildElf(withNotes(notes))));
    expect(error).toMatch(/^E_IMAGE: /);
    expect(error).toMatch(message);
  });

  test('[D-14] E_IMAGE: no loadable segment, or segments too far apart', () => {
    const notes = { type: 4, content: pvNotes(BASE, BASE) };
    expect(errorOf(() => readXenImage(buildElf({ segments: [notes] })))).toContain('no loadable segment');
    const far = { ...text, paddr: 1n << 40n };
    expect(errorOf(() => readXenImage(buildElf({ segments: [text, far, notes] })))).toContain('more than 1 GiB');
  });
});

describe.skipIf(!hasGuest('grub/grub-i386-xen.elf'))('images of grub-mkimage', () => {
  test('[D-58] x86_64-xen is a PV image at address 0', () => {
    const parsed = readXenImage(guest('grub/grub-x86_64-xen.elf')).info;
    expect(parsed).toMatchObject({ guestOs: 'GRUB', loader: 'generic', virtBase: 0n, entry: 0n, hypercallPage: null });
  });

  test('[D-58] i386-xen is E_PLATFORM', () => {
    expect(errorOf(() => readXenImage(guest('grub/grub-i386-xen.elf')))).toMatch(/^E_PLATFORM: an i386 image/);
  });
});
