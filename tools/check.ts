/**
 * What neither the compiler nor the linter sees of the tree: `node tools/run.mjs check`, a part of `npm run check`. Prints one finding
 * a line; exits 1 where there is one.
 */
import { resolve } from 'node:path';
import { documentFaults } from './check/documents.ts';
import { longFunctions } from './check/function-length.ts';
import { readModules } from './check/tree.ts';
import { unusedExports } from './check/unused-exports.ts';
import { commandLine } from './command-line.ts';
import { layerFaults } from './layers.ts';

const ROOT = resolve(import.meta.dirname, '..');

/** All findings for the checkout at `root`. */
export function findings(root: string): string[] {
  const modules = readModules(root);
  return [
    ...layerFaults(modules),
    ...unusedExports(modules),
    ...longFunctions(modules),
    ...documentFaults(root, modules),
  ];
}

if (import.meta.main) {
  commandLine({});
  const found = findings(ROOT);
  for (const finding of found) console.error(finding);
  console.log(`check: ${found.length} findings`);
  process.exitCode = found.length > 0 ? 1 : 0;
}
