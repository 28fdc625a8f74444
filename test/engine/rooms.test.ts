import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect, it } from 'vitest';

const ENGINE = join(import.meta.dirname, '../../src/engine');

/** Files of the engine that a file of it leads to by its imports, types included. */
function reached(from: string): Set<string> {
  const found = new Set([from]);
  for (const file of found)
    for (const [, path] of readFileSync(file, 'utf8').matchAll(/ from '(\.[^']+)'/g)) {
      const to = join(dirname(file), path!);
      if (to.startsWith(ENGINE)) found.add(to);
    }
  return found;
}

it('the cold tier stands without the hot one, and both on the encoder', () => {
  for (const [room, above] of [
    ['cold', ['hot']],
    ['wasm', ['cold', 'hot']],
  ] as const) {
    const files = readdirSync(join(ENGINE, room));
    expect(files.length).toBeGreaterThan(2);
    for (const file of files)
      for (const other of reached(join(ENGINE, room, file)))
        expect(above, `${room}/${file}`).not.toContain(relative(ENGINE, other).split('/')[0]);
  }
});
