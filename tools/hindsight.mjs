#!/usr/bin/env node
/** The `hindsight` command: the CLI in this Node when it is recent enough, else in the project's own. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureInstalled, isRecentNode, ROOT, runNode, useCompiled } from './runtime.mjs';

const CLI = join(ROOT, 'src/cli/main.ts');
ensureInstalled();
if (isRecentNode()) {
  useCompiled();
  await import(pathToFileURL(CLI).href);
} else runNode([CLI, ...process.argv.slice(2)]);
