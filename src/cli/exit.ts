/**
 * Exit statuses, and how an error becomes one: what the user or the host did wrong is one line `code: message`, a mistake of
 * ours says so and asks for a report.
 */
import { EmulatorError, type ErrorCode } from '../core/errors.ts';
import type { VerdictReport } from '../inspect/report.ts';
import { visible } from './visible.ts';

export const EXIT = {
  ok: 0,
  /** Our own bug. */
  bug: 1,
  /** Bad usage or input. */
  usage: 2,
  /** The guest failed or did not end. */
  guest: 3,
  /** A replay parted from its recording. */
  diverged: 4,
  /** The host failed. */
  host: 5,
  /** A predicate was never true. */
  never: 7,
} as const;

/** Exit status of `record`. */
export const exitOfVerdict = ({ kind }: VerdictReport): number =>
  kind === 'poweroff' || kind === 'reboot' ? EXIT.ok : EXIT.guest;

/** Errors of the operating system that are about what the user named. */
const NOT_FOUND = new Set(['ENOENT', 'ENOTDIR', 'EISDIR']);
/** Errors of the operating system that are about the host. */
const HOST = new Set([
  'ENOSPC',
  'EDQUOT',
  'EROFS',
  'EACCES',
  'EPERM',
  'EIO',
  'EMFILE',
  'ENFILE',
  'ENOMEM',
  'EFBIG',
  'EBUSY',
]);

/** An error with the status it ends the program with. */
export interface Failure {
  readonly status: number;
  readonly code: ErrorCode | 'E_DIVERGED' | 'E_INTERRUPTED' | 'E_BUG';
  readonly message: string;
}

/** Classifies anything thrown. */
export function failureOf(error: unknown): Failure {
  if (error instanceof EmulatorError) {
    return { status: error.code === 'E_HOST' ? EXIT.host : EXIT.usage, code: error.code, message: error.message };
  }
  if (!(error instanceof Error)) return { status: EXIT.bug, code: 'E_BUG', message: String(error) };
  // Divergence is declared in src/machine; by its name it is known here without running the machine.
  if (error.name === 'Divergence') return { status: EXIT.diverged, code: 'E_DIVERGED', message: error.message };
  const system = (error as NodeJS.ErrnoException).code ?? '';
  if (NOT_FOUND.has(system)) return { status: EXIT.usage, code: 'E_NOT_FOUND', message: error.message };
  if (HOST.has(system)) return { status: EXIT.host, code: 'E_HOST', message: error.message };
  return { status: EXIT.bug, code: 'E_BUG', message: `${error.name}: ${error.message}` };
}

/** The lines for stderr, with whatever files and guests put into a message made visible. */
export function failureText({ code, message }: Failure): string {
  const line = `${code}: ${visible(message)}\n`;
  if (code !== 'E_BUG') return line;
  return `${line}This is a mistake of Hindsight, not of your kernel. HINDSIGHT_TRACE=1 shows where it happened.\n`;
}
