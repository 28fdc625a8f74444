/** Writes docs/requirements.md, the table of requirement rows and their tests: `node tools/run.mjs requirements`. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { commandLine } from './command-line.ts';
import { requirementsPage, titlesOf } from './requirements/report.ts';
import { ROWS } from './requirements/rows.ts';

const ROOT = resolve(import.meta.dirname, '..');
export const PAGE = join(ROOT, 'docs/requirements.md');

/** The page as the tests have it now. */
export function currentPage(): string {
  const files = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts') && !file.startsWith('tools'))
    .map((file) => join(ROOT, 'test', file))
    .toSorted();
  return requirementsPage(
    ROWS,
    files.flatMap((file) => titlesOf(relative(ROOT, file), readFileSync(file, 'utf8'))),
  );
}

if (import.meta.main) {
  commandLine({});
  writeFileSync(PAGE, currentPage());
}
