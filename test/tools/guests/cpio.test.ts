import { describe, expect, test } from 'vitest';
import { writeCpio } from '../../../tools/guests/cpio.ts';

/** The 13 header fields by their names in the kernel's buffer-format.rst. */
const FIELDS = 'ino mode uid gid nlink mtime filesize maj min rmaj rmin namesize chksum'.split(' ');

interface Member {
  name: string;
  data: string;
  [field: string]: number | string;
}

/** Reads an archive by the format's description, strictly. */
function readCpio(archive: Uint8Array): Member[] {
  const text = Buffer.from(archive).toString('latin1');
  const members: Member[] = [];
  for (let at = 0; at < text.length; ) {
    expect(text.slice(at, at + 6)).toBe('070701');
    const fields = FIELDS.map((_, i) => Number.parseInt(text.slice(at + 6 + i * 8, at + 14 + i * 8), 16));
    const member: Member = { ...Object.fromEntries(FIELDS.map((field, i) => [field, fields[i]!])), name: '', data: '' };
    const data = (at + 110 + Number(member.namesize) + 3) & ~3;
    member.name = text.slice(at + 110, at + 109 + Number(member.namesize));
    member.data = text.slice(data, data + Number(member.filesize));
    members.push(member);
    at = (data + Number(member.filesize) + 3) & ~3;
  }
  return members;
}

describe('newc archives', () => {
  const archive = writeCpio([
    { kind: 'directory', path: 'dev', mode: 0o755 },
    { kind: 'character', path: 'dev/console', mode: 0o600, major: 5, minor: 1 },
    { kind: 'file', path: 'init', mode: 0o755, data: new TextEncoder().encode('hello') },
    { kind: 'link', path: 'bin', target: 'usr/bin' },
  ]);
  const members = readCpio(archive);

  test('end in the trailer', () => {
    expect(members.map((member) => member.name)).toEqual(['dev', 'dev/console', 'init', 'bin', 'TRAILER!!!']);
  });

  test('carry types and permissions as stat(2) has them', () => {
    expect(members.slice(0, 4).map((member) => member.mode)).toEqual([0o040755, 0o020600, 0o100755, 0o120777]);
  });

  test('carry device numbers, contents and link targets', () => {
    expect(members[1]).toMatchObject({ rmaj: 5, rmin: 1, filesize: 0 });
    expect(members.slice(2, 4).map((member) => member.data)).toEqual(['hello', 'usr/bin']);
  });

  test('have no time, no owner and an inode of its own for each member', () => {
    for (const member of members) expect(member).toMatchObject({ mtime: 0, uid: 0, gid: 0 });
    expect(new Set(members.map((member) => member.ino)).size).toBe(members.length);
  });
});
