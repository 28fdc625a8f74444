/**
 * The command line of a tool: a mistake in it is told in a line, without a stack trace, and ends the process with status 2. Imports
 * nothing of src, which the fuzzers load broken.
 */
import { relative, resolve } from 'node:path';
import { type ParseArgsConfig, parseArgs } from 'node:util';

const TOOL = relative(resolve(import.meta.dirname, '..'), process.argv[1] ?? '');

/** Tells what is wrong with the command line, or with what it names, and ends the process. */
export function refuse(message: string): never {
  console.error(`${message}\n(${TOOL} says in its first lines how it is used)`);
  process.exit(2);
}
/** What `read` gives; what it throws is told as a mistake of the command line. */
export function checked<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
}

/** Options and positional arguments, as node:util's parseArgs gives them. */
export const commandLine = <T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> =>
  checked(() => parseArgs(config));

/** A whole number of at least `least`; without a text no number is too large. */
export function countOf(text: string | undefined, what: string, least = 0): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  const value = /^\d[\d_]*$/.test(text) ? Number(text.replaceAll('_', '')) : Number.NaN;
  return Number.isSafeInteger(value) && value >= least
    ? value
    : refuse(`${what} ${text}: not a whole number of at least ${least}`);
}

/** A number above 0; without a text none is too large. */
export function amountOf(text: string | undefined, what: string): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  return /^\d+(\.\d+)?$/.test(text) && Number(text) > 0
    ? Number(text)
    : refuse(`${what} ${text}: not a number above 0`);
}

/** A regular expression. */
export function patternOf(text: string, what: string): RegExp {
  try {
    return new RegExp(text);
  } catch (error) {
    return refuse(`${what} ${text}: ${(error as Error).message}`);
  }
}

/** One of some names. */
export const oneOf = <T extends string>(text: string, what: string, names: readonly T[]): T =>
  names.find((name) => name === text) ?? refuse(`${what} ${text}: there are ${names.join(', ')}`);
