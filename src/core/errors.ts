/**
 * Errors that a user can cause. Each has a stable code; the CLI prints `code: message` and never a stack trace.
 */

/** Stable codes of everything a user can get wrong or a host can fail at. */
export type ErrorCode =
  | 'E_USAGE' // bad command line
  | 'E_EXPRESSION' // malformed predicate
  | 'E_IMAGE' // not an ELF, truncated, no Xen notes, bad payload
  | 'E_PLATFORM' // an image for a platform that is not implemented (i386, PVH)
  | 'E_MEMORY' // too little guest memory, initrd larger than memory
  | 'E_RECORDING' // corrupt or foreign recording; the message names the place
  | 'E_SEMANTICS' // recorded with another semantics version
  | 'E_TICK' // a tick outside the recording
  | 'E_NOT_FOUND' // a named file, recording or symbol does not exist
  | 'E_HOST'; // the host failed: disk full, permission

/** Base of every error that is the input's or the host's fault. */
export class EmulatorError extends Error {
  override name = 'EmulatorError';
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
