/** The pinned vectors of test/vectors/silicon, read, with the template of each case. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { enumerateForms } from './enumerate.ts';
import { MODE_64, MODE_COMPAT, MODE_PROT16, MODE_PROT32 } from './records.ts';
import { type Template, TemplateBuilder } from './templates.ts';
import { decodeVectors, type Vectors } from './vectors.ts';

/** The files, by name, with the mode of their cases. */
export const PINNED_FILES: ReadonlyArray<[name: string, mode: number]> = [
  ['64', MODE_64],
  ['compat', MODE_COMPAT],
  ['prot32', MODE_PROT32],
  ['prot16', MODE_PROT16],
];

/** Reads one file. */
export const readPinned = (name: string): Vectors =>
  decodeVectors(readFileSync(join(import.meta.dirname, `../vectors/silicon/${name}.bin.zst`)));

/** The template of each case whose form's name matches, by the case's number. */
export function templatesOf(vectors: Vectors, names = /./): Map<number, Template> {
  const forms = new Map(enumerateForms(vectors.header.mode).forms.map((form) => [form.name, form]));
  const builder = new TemplateBuilder();
  const templates = new Map<number, Template>();
  for (let i = 0; i < vectors.header.count; i++) {
    const record = vectors.cases.at(i);
    const name = vectors.header.forms[record.tag]!;
    if (!names.test(name)) continue;
    const template = builder.describe(forms.get(name)!, record.code.slice());
    if (template === null) throw new Error(`case ${i} is no ${name}`);
    templates.set(i, template);
  }
  builder.free();
  return templates;
}
