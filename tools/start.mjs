/** Starts the CLI in the project's own Node; compiled code, types stripped, is kept in node_modules/.cache from one start to the next. */
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
// Where the folder cannot be written nothing is kept, and that is all.
enableCompileCache(join(ROOT, 'node_modules/.cache/hindsight'));
await import('../src/cli/main.ts');
