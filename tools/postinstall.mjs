/** The last step of `npm ci`: the command into node_modules/.bin, and what the engine keeps compiled for this host. */
import { join } from 'node:path';
import { linkCommand, ROOT, runNode } from './runtime.mjs';

linkCommand();
runNode([join(ROOT, 'tools/prepare-handlers.ts')]);
