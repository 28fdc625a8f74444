/** Keys of what the engine has made in an earlier process, which is of use only to an engine that would make the same. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** What decides what is generated how: the layers of the tree below and including the engine's. */
const SOURCES = ['core', 'ir', 'x86', 'memory', 'engine'].map((x) => resolve(import.meta.dirname, '../..', x));

let sources: Uint8Array | null = null;
function sourceHash(): Uint8Array {
  const sum = createHash('sha256');
  for (const folder of SOURCES)
    for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort())
      if (name.endsWith('.ts')) sum.update(name).update(readFileSync(join(folder, name)));
  return sum.digest();
}

/** SHA-256 of the engine's sources, V8's version and the words that say what it is a key of, as a Latin-1 string. */
export function engineKey(of: string): string {
  sources ??= sourceHash();
  return createHash('sha256').update(sources).update(`${process.versions.v8} ${of}`).digest('latin1');
}
