/**
 * A recording's directory: where its parts are, and how it is told from anything else.
 */
import { type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { EmulatorError } from '../src/core/errors.ts';
import { type AnchorFile, readAnchor } from './anchor.ts';
import { isFolder, isThere, readFailure } from './plain-file.ts';
import { damaged } from './sealed.ts';

export const databasePath = (path: string): string => join(path, 'db');
export const bulkPath = (path: string): string => join(path, 'bulk');
export const anchorPath = (path: string): string => join(path, 'anchor');

function statsOf(path: string, name: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw readFailure(name, error);
  }
}

/** Tells a recording's directory from anything else, in words; returns its anchor. The directory may be named by a link. */
export function checkDirectory(path: string, name: string): AnchorFile {
  const stats = statsOf(path, name);
  if (stats === undefined) throw new EmulatorError('E_NOT_FOUND', `there is no recording ${name}: ${path}`);
  if (!stats.isDirectory())
    throw new EmulatorError('E_RECORDING', `${name} is not a recording: ${path} is no directory`);
  if (!isThere(anchorPath(path), 'the anchor')) {
    const what = isThere(join(path, 'CURRENT'), name)
      ? 'a LevelDB that hindsight did not write'
      : 'a directory without an anchor';
    throw new EmulatorError('E_RECORDING', `${name} is not a recording: ${path} is ${what}`);
  }
  const found = readAnchor(anchorPath(path), name);
  if (!isFolder(databasePath(path), `the database of ${name}`)) throw damaged(`the database of ${name}`, 'is missing');
  return found;
}
