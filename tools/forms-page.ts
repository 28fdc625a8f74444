/** Writes docs/forms.md, the table of instruction forms: `node tools/forms-page.ts`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Campaign, formsPage } from './forms/page.ts';

const ROOT = resolve(import.meta.dirname, '..');
export const PAGE = join(ROOT, 'docs/forms.md');

/** The page as the sources have it now. */
export function currentPage(): string {
  const campaign = JSON.parse(readFileSync(join(ROOT, 'docs/silicon.json'), 'utf8')) as Campaign;
  return formsPage(campaign, readFileSync(join(ROOT, 'src/x86/semantics/flags.ts'), 'utf8'));
}

if (import.meta.main) writeFileSync(PAGE, currentPage());
