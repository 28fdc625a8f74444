import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../../.cache/guests');

/** Whether `npm run guests` has fetched the image `name`, a path below `.cache/guests`. */
export const hasGuest = (name: string): boolean => existsSync(join(ROOT, name));

/** The bytes of a fetched image. */
export const guest = (name: string): Uint8Array => new Uint8Array(readFileSync(join(ROOT, name)));
