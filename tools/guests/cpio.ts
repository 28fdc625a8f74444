/**
 * Writer of cpio archives in the "newc" format (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst).
 * Owner, times and inode numbers are fixed, so that equal entries give equal bytes, and device nodes need no root.
 */

/** One member; `mode` holds the permission bits only, file data is raw bytes. */
export type CpioEntry =
  | { kind: 'directory'; path: string; mode: number }
  | { kind: 'file'; path: string; mode: number; data: Uint8Array }
  | { kind: 'link'; path: string; target: string }
  | { kind: 'character'; path: string; mode: number; major: number; minor: number };

const TYPE_BITS = { directory: 0o040000, file: 0o100000, link: 0o120000, character: 0o020000 };
const TRAILER = 'TRAILER!!!';

interface Header {
  inode: number;
  mode: number;
  links: number;
  major: number;
  minor: number;
  path: string;
  data: Uint8Array;
}

function* member(header: Header): Generator<Uint8Array> {
  const name = new TextEncoder().encode(`${header.path}\0`);
  const fields = [
    header.inode,
    header.mode,
    0, // uid
    0, // gid
    header.links,
    0, // mtime: the epoch
    header.data.length,
    0, // device of the archive
    0,
    header.major,
    header.minor,
    name.length,
    0, // checksum: unused in newc
  ];
  const text = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
  yield new TextEncoder().encode(text);
  yield name;
  yield padding(text.length + name.length);
  yield header.data;
  yield padding(header.data.length);
}

const padding = (lengthBytes: number): Uint8Array => new Uint8Array(-lengthBytes & 3);

/** The archive of these entries, in their order; a directory must come before what it holds. */
export function writeCpio(entries: readonly CpioEntry[]): Uint8Array {
  const parts: Uint8Array[] = [];
  entries.forEach((entry, index) => {
    const mode = TYPE_BITS[entry.kind] | (entry.kind === 'link' ? 0o777 : entry.mode);
    const [major, minor] = entry.kind === 'character' ? [entry.major, entry.minor] : [0, 0];
    const data =
      entry.kind === 'file' ? entry.data : new TextEncoder().encode(entry.kind === 'link' ? entry.target : '');
    const links = entry.kind === 'directory' ? 2 : 1;
    parts.push(...member({ inode: index + 1, mode, links, major, minor, path: entry.path, data }));
  });
  parts.push(...member({ inode: 0, mode: 0, links: 1, major: 0, minor: 0, path: TRAILER, data: new Uint8Array() }));
  return Buffer.concat(parts);
}
