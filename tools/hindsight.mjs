/** The `hindsight` command in any Node: installs what is missing, then runs the CLI in the project's own Node. */
import { join } from 'node:path';
import { ensureInstalled, ROOT, runNode } from './runtime.mjs';

ensureInstalled();
runNode(['--disable-sigusr1', join(ROOT, 'src/cli/main.ts'), ...process.argv.slice(2)]);
