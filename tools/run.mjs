/** Runs one of the project's tools in any Node: `node tools/run.mjs NAME [ARGUMENTS]` is tools/NAME.ts in the project's own Node. */
import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { ensureInstalled, ROOT, runNode } from './runtime.mjs';

const [name, ...rest] = process.argv.slice(2);
const tool = join(ROOT, 'tools', `${name}.ts`);
if (name === undefined || !/^[\w/-]+$/.test(name) || !existsSync(tool)) {
  const missing = name === undefined ? '' : `there is no ${relative(ROOT, tool)}; `;
  console.error(
    `${missing}usage: node tools/run.mjs NAME [ARGUMENTS]; NAME is a file of tools, as silicon or bench/startup`,
  );
  process.exit(2);
}
ensureInstalled();
runNode([tool, ...rest]);
