import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** The vmlinuz of linux-image-6.1.0-56-amd64 6.1.192-2; Debian's later ones unpack to something else. */
export const KNOWN_VMLINUZ = '26f2e57c99338feaf71c46fa4babdc7e1a6c115943002d109fdb746667104f5f';
/** SHA-256 in hexadecimal. */
export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const ROOT = resolve(import.meta.dirname, '../../.cache/guests');

/** Whether `npm run guests` has fetched the image `name`, a path below `.cache/guests`. */
export const hasGuest = (name: string): boolean => existsSync(join(ROOT, name));

/** The bytes of a fetched image. */
export const guest = (name: string): Uint8Array => new Uint8Array(readFileSync(join(ROOT, name)));
