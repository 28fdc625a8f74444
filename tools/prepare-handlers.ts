/**
 * Compiles the cold tier's handlers for this host, where that has not been done for these sources: `node tools/run.mjs prepare-handlers`.
 * Part of the installation; without it everything works, a first boot of Debian takes 29 % more (8.43 CPU s instead of 6.55).
 */
import { resolve } from 'node:path';
import { keepHandlers, loadHandlers } from '../src/cli/local/prepared-handlers.ts';
import { setV8Flags } from '../src/cli/v8-flags.ts';
import { prepareHandlers } from '../src/engine/cold/prepared.ts';
import { commandLine } from './command-line.ts';

/** As in tools/hindsight.sh and tools/runtime.mjs. */
const FOLDER = resolve(import.meta.dirname, '../node_modules/.cache/hindsight-handlers');

if (import.meta.main) commandLine({});
setV8Flags();
try {
  if (loadHandlers(FOLDER) === null && keepHandlers(FOLDER, prepareHandlers()))
    console.error(`hindsight: handlers compiled into ${FOLDER}`);
} catch (error) {
  console.error(`hindsight: handlers are compiled when they are needed: ${(error as Error).message}`);
}
