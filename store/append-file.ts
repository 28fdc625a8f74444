/**
 * A file that is only appended to, in whole pages through a buffer, and read at any place.
 *
 * Writing passes the host's page cache by where the host lets it (O_DIRECT), since the cache takes fresh memory for what nobody
 * reads soon, and much at once, since waking the disk costs more than what it is told: 0.4 CPU ms a MB instead of 1 to 3.
 *
 * Invariants: what was appended is in the file after {@link AppendFile.sync}, is readable at once, and is never written again;
 * the file is padded with zeros to whole pages while it is open for more, and not after {@link AppendFile.close}.
 */
import { closeSync, constants, fdatasync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { promisify } from 'node:util';

const syncData = promisify(fdatasync);
const PAGE = 4096;
const BUFFER_BYTES = 8 << 20;

/** Opens the file for writing past the page cache; null where host or file system cannot. */
function openDirect(path: string): number | null {
  if (constants.O_DIRECT === undefined) return null;
  try {
    return openSync(path, constants.O_WRONLY | constants.O_DIRECT | constants.O_NOFOLLOW);
  } catch {
    return null;
  }
}

export class AppendFile {
  readonly #path: string;
  readonly #file: number;
  /** Where writes go: {@link AppendFile.#file}, or the same file past the page cache; undefined until the first one. */
  #target: number | undefined;
  /** What is not in the file yet, which goes to `#written` on; in Wasm memory, which begins at a page as O_DIRECT demands. */
  #buffer: Uint8Array = new Uint8Array(0);
  #buffered = 0;
  /** A multiple of the page size. */
  #written: number;
  #end: number;
  #unsynced = false;

  /** Makes the file (`flags` wx+) or opens it (r+), never through a link; the host's error when it cannot. */
  constructor(path: string, flags: 'wx+' | 'r+') {
    this.#path = path;
    this.#file = openSync(path, flags === 'wx+' ? flags : constants.O_RDWR | constants.O_NOFOLLOW);
    this.#end = fstatSync(this.#file).size;
    this.#written = Math.ceil(this.#end / PAGE) * PAGE;
  }

  /** Appends `parts` and returns where they begin. */
  append(parts: readonly Uint8Array[]): number {
    if (this.#buffer.length === 0)
      this.#buffer = new Uint8Array(new WebAssembly.Memory({ initial: BUFFER_BYTES >> 16 }).buffer);
    this.#unsynced = true;
    const at = this.#written + this.#buffered;
    for (const part of parts)
      for (let done = 0; done < part.length; ) {
        const count = Math.min(part.length - done, BUFFER_BYTES - this.#buffered);
        this.#buffer.set(part.subarray(done, done + count), this.#buffered);
        this.#buffered += count;
        this.#end = this.#written + this.#buffered;
        done += count;
        if (this.#buffered === BUFFER_BYTES) this.#flush();
      }
    return at;
  }
  /** What stands at `at`, `bytes` bytes or as far as the file goes. */
  read(at: number, bytes: number): Uint8Array {
    const out = new Uint8Array(Math.max(0, Math.min(bytes, this.#end - at)));
    let done = 0;
    while (done < out.length && at + done < this.#written) {
      const count = readSync(this.#file, out, done, Math.min(out.length - done, this.#written - at - done), at + done);
      if (count === 0) return out.subarray(0, done);
      done += count;
    }
    const from = at + done - this.#written;
    out.set(this.#buffer.subarray(from, from + out.length - done), done);
    return out;
  }
  /** Resolves once everything appended so far is on disk. */
  async sync(): Promise<void> {
    if (!this.#unsynced) return;
    this.#flush();
    this.#unsynced = false;
    await syncData(this.#file);
  }
  close(): void {
    if (this.#target !== undefined) ftruncateSync(this.#file, Math.min(this.#end, this.#written));
    if (this.#target !== undefined && this.#target !== this.#file) closeSync(this.#target);
    closeSync(this.#file);
  }

  /** Puts what is buffered into the file, padded to whole pages. */
  #flush(): void {
    const bytes = Math.ceil(this.#buffered / PAGE) * PAGE;
    this.#buffer.fill(0, this.#buffered, bytes);
    for (let done = 0; done < bytes; ) done += this.#write(this.#buffer.subarray(done, bytes), this.#written + done);
    this.#written += bytes;
    this.#buffered = 0;
  }
  #write(data: Uint8Array, at: number): number {
    this.#target ??= openDirect(this.#path) ?? this.#file;
    try {
      return writeSync(this.#target, data, 0, data.length, at);
    } catch (error) {
      // A file system may open a file like this and then not write it: larger blocks, a short write before.
      if ((error as NodeJS.ErrnoException).code !== 'EINVAL' || this.#target === this.#file) throw error;
      closeSync(this.#target);
      this.#target = this.#file;
      return this.#write(data, at);
    }
  }
}
