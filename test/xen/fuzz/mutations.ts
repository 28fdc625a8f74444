/**
 * Ways to break a rule of types, counts, owners or bounds: `node tools/run.mjs fuzz-hypercalls --mutate` shows that each is found. A test
 * checks that their texts still stand in the source.
 */
import type { Mutation } from '../../../tools/fuzz/mutate.ts';

const TYPES = 'xen/mm/types.ts';
const REFS = 'xen/mm/refs.ts';
const UPDATE = 'xen/mm/update.ts';
const MMUEXT = 'xen/mm/mmuext.ts';
const DESCRIPTORS = 'xen/mm/descriptors.ts';
const FRAMES = 'xen/mm/page-info.ts';
const MEMORY = 'xen/memory-op.ts';

const of = (file: string, name: string, find: string, replace: string): Mutation => ({ name, file, find, replace });

export const MUTATIONS: readonly Mutation[] = [
  of(
    TYPES,
    'an L1 table that cannot be promoted keeps the references of its first entry',
    'while (i-- > 0) putPageFromL1e(',
    'while (i-- > 1) putPageFromL1e(',
  ),
  of(
    TYPES,
    'an upper table that cannot be promoted keeps its references',
    'dropEntries(d, table, level, i);',
    'if (i > 256) dropEntries(d, table, level, i);',
  ),
  of(
    TYPES,
    'a table released keeps its last entry',
    'else dropEntries(d, mfn, level, 512);',
    'else dropEntries(d, mfn, level, 511);',
  ),
  of(
    TYPES,
    'a table of the same level is named without a type reference',
    'frames.setType(mfn, type + 1);\n  return true;',
    'return true;',
  ),
  of(
    TYPES,
    'a page of another type gives its reference back twice',
    'if (rc !== 0) putPage(d, mfn);\n  return rc;',
    'putPage(d, mfn);\n  return rc;',
  ),
  of(TYPES, 'L4 tables are counted up only', 'if (level === 4) d.state.l4Pages--;', ''),
  of(REFS, 'a page of another owner keeps the reference that was taken to look', 'if (held) putPage(d, mfn);', ''),
  of(
    REFS,
    'a page that becomes free is still counted',
    'dropOwnership(d, mfn);\n  d.state.totPages--;',
    'dropOwnership(d, mfn);',
  ),
  of(REFS, 'a free page keeps its owner', 'd.frames.setOwner(mfn, OWNER.none);', ''),
  of(
    UPDATE,
    'a page written by mmu_update stays of type writable',
    'joinWords(lo, hi));\n  putPageType(d, mfn);',
    'joinWords(lo, hi));',
  ),
  of(UPDATE, 'mmu_update keeps the table', 'pgOwner);\n  putPage(d, mfn);', 'pgOwner);'),
  of(
    MMUEXT,
    'a page pinned twice keeps the second reference',
    'putPageAndType(d, mfn);\n    return -ERRNO.EINVAL;',
    'return -ERRNO.EINVAL;',
  ),
  of(
    MMUEXT,
    'an unpinned table keeps its type',
    'putPageAndType(d, mfn);\n  putPage(d, mfn);\n  return 0;',
    'putPage(d, mfn);\n  putPage(d, mfn);\n  return 0;',
  ),
  of(
    MMUEXT,
    'the user root before keeps its references',
    'v.userTable = mfn;\n  d.host.rootChanged();\n  if (old !== 0) putPageAndType(d, old);',
    'v.userTable = mfn;\n  d.host.rootChanged();',
  ),
  of(MMUEXT, 'a page that cannot be copied to keeps the source', 'putPage(d, from);\n    gdprintk', 'gdprintk'),
  of(DESCRIPTORS, 'a GDT that is refused keeps its first page', 'while (i-- > 0) putPageAndType(d, frames[i]!);', ''),
  of(
    DESCRIPTORS,
    'an LDT that is given up keeps its pages',
    'pages[i] = 0;\n    putPageAndType(d, mfn);',
    'pages[i] = 0;',
  ),
  of(FRAMES, 'a mapping dropped keeps its type reference', 'if (writable) words[at] = type - 1;', ''),
  of(MEMORY, 'a page that is exchanged is not counted out', 'd.state.totPages--;', ''),
  of(
    UPDATE,
    'mmu_update goes on whatever it has cost',
    'if (i > 0 && d.work.isSpent) {\n        rc = requestsLeft(plus(ureqs',
    'if (i < 0) {\n        rc = requestsLeft(plus(ureqs',
  ),
];
