/**
 * `npm start` and `npm test` in a clone that may never have been installed: installs what package-lock.json names, then
 * runs the verb with the project's own Node 24. Further arguments and the exit status pass through.
 */
import { join } from 'node:path';
import { ensureInstalled, ROOT, runNode } from './runtime.mjs';

const VERBS = {
  start: [join(ROOT, 'src/cli/main.ts'), 'demo'],
  test: [join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run', '--root', ROOT],
};

const [verb, ...rest] = process.argv.slice(2);
if (!Object.hasOwn(VERBS, verb ?? '')) {
  console.error(`usage: node tools/bootstrap.mjs ${Object.keys(VERBS).join('|')} [ARGUMENTS]`);
  process.exit(2);
}
ensureInstalled();
runNode([...VERBS[verb], ...rest]);
