import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';

const GUESTS = resolve(import.meta.dirname, '../../.cache/guests');

const EM_386 = 3;
const EM_X86_64 = 62;

const read = (name: string): Buffer => readFileSync(join(GUESTS, name));

/** The name and type words that head an ELF note of Xen's (elfnote.h): namesz 4, descsz, type, "Xen\0". */
const hasXenNote = (elf: Buffer, type: number): boolean => {
  for (let at = elf.indexOf('Xen\0'); at >= 12; at = elf.indexOf('Xen\0', at + 1))
    if (elf.readUInt32LE(at - 12) === 4 && elf.readUInt32LE(at - 4) === type) return true;
  return false;
};
const XEN_ELFNOTE_GUEST_OS = 6;

describe.skipIf(!existsSync(GUESTS))('guests of npm run guests (.cache/guests)', () => {
  test('debian/vmlinuz is a bzImage', () => {
    expect(read('debian/vmlinuz').toString('latin1', 0x202, 0x206)).toBe('HdrS');
  });

  test('debian/vmlinux is a 64-bit ELF file of the size that the bzImage names', () => {
    const vmlinux = read('debian/vmlinux');
    const vmlinuz = read('debian/vmlinuz');
    const payloadEnd = (vmlinuz[0x1f1]! + 1) * 512 + vmlinuz.readUInt32LE(0x248) + vmlinuz.readUInt32LE(0x24c);
    expect(vmlinux.length).toBe(vmlinuz.readUInt32LE(payloadEnd - 4));
    expect(vmlinux.toString('latin1', 0, 5)).toBe('\x7fELF\x02');
    expect(vmlinux.readUInt16LE(18)).toBe(EM_X86_64);
    expect(hasXenNote(vmlinux, XEN_ELFNOTE_GUEST_OS)).toBe(true);
  });

  test('debian/initrd.gz holds busybox, a console and an /init that powers off', () => {
    const archive = gunzipSync(read('debian/initrd.gz'));
    expect(archive.toString('latin1', 0, 6)).toBe('070701');
    for (const name of ['dev/console', 'bin/busybox', 'init', 'TRAILER!!!'])
      expect(archive.includes(`${name}\0`)).toBe(true);
    expect(archive.includes('\npoweroff -f\n')).toBe(true);
  });

  test.each([
    ['grub/grub-x86_64-xen.elf', EM_X86_64],
    ['grub/grub-x86_64-xen-trace.elf', EM_X86_64],
    ['grub/grub-i386-xen.elf', EM_386],
    ['grub/grub-i386-xen-trace.elf', EM_386],
  ])('%s is an ELF file with Xen notes', (name, machine) => {
    const elf = read(name);
    expect(elf.toString('latin1', 0, 4)).toBe('\x7fELF');
    expect(elf.readUInt16LE(18)).toBe(machine);
    expect(hasXenNote(elf, XEN_ELFNOTE_GUEST_OS)).toBe(true);
  });

  test('GRUB: only the trace image carries a configuration that halts', () => {
    expect(read('grub/grub-x86_64-xen-trace.elf').includes('sleep 2\nhalt\n')).toBe(true);
    expect(read('grub/grub-x86_64-xen.elf').includes('sleep 2\nhalt\n')).toBe(false);
  });
});
