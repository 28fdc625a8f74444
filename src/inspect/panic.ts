/**
 * Whether a guest kernel panicked: by the entry of its panic function where symbols know one; without that by what it prints at
 * the beginning of a line, unless user mode runs afterwards, since none does behind a panic, or Linux is quoted by a guest that
 * powers off, since Linux's panic never does.
 *
 * A panic wins over the ending that the guest chooses afterwards (a shutdown, waiting for ever). It does not win over a
 * domain that Xen crashed: there Xen's words are the verdict, and the panic is a link of the chain that `why` shows.
 */
import type { Tick, VirtAddr } from '../core/units.ts';
import type { Verdict } from '../x86/seam.ts';
import type { Moment } from './moment.ts';
import { formatText } from './printf.ts';
import type { SymbolTable } from './symbols.ts';

/** Functions whose entry is a panic, and how each gets its text: Linux and NetBSD. */
const PANIC_ENTRIES = { panic: 'format', vpanic: 'list', nmi_panic: 'second' } as const;
export type PanicEntry = keyof typeof PANIC_ENTRIES;
/** Lines of a kernel that has given up; what a line quotes in its middle are not its words, but those behind a time may be. */
const LINUX = /(?<=(?:^|\]|^<\d>)\s*)Kernel panic - not syncing.*/;
const FATAL = [LINUX, /(?<=^\s*(?:\[[\s\d.]+\]\s*)?)panic(?:\[[^\]]*\])?: .*/];
/** Lines of a kernel that may yet go on. */
const SERIOUS = [
  /\bOops: .*/,
  /\bBUG: .*/,
  /kernel BUG at .*/,
  /general protection fault.*/,
  /fatal (?:page|protection|trap).*/,
];

/** A panic that was seen. */
export interface Sighting {
  readonly tick: Tick;
  readonly vcpu: number;
  readonly rip: VirtAddr;
}

/** Linear addresses at which a panic begins, for a check like a breakpoint's; empty when no symbol is known. */
export function panicEntries(symbols: Pick<SymbolTable, 'address'>): ReadonlyMap<VirtAddr, PanicEntry> {
  const entries = new Map<VirtAddr, PanicEntry>();
  for (const name of Object.keys(PANIC_ENTRIES) as PanicEntry[]) {
    const address = symbols.address(name);
    if (address !== null) entries.set(address, name);
  }
  return entries;
}

/** The kernel's own words about its panic, from all it printed; null when nothing in it says so. */
export function panicMessage(consoleText: string): string | null {
  return firstMatch(consoleText, FATAL) ?? firstMatch(consoleText, SERIOUS);
}

/** The first line that matches, from where the kernel's words begin. */
function firstMatch(text: string, patterns: readonly RegExp[]): string | null {
  for (const line of text.split(/\r?\n|\r/))
    for (const pattern of patterns) {
      const match = pattern.exec(line);
      if (match !== null) return match[0].trim();
    }
  return null;
}

/** Bytes of a text that are looked at: Linux's panic has a buffer as long. */
const TEXT_BYTES = 1024;
const REGISTERS = ['rsi', 'rdx', 'rcx', 'r8', 'r9'] as const;

/**
 * What a panic function will say, where a vCPU stands at its entry: the format filled in with its arguments, as the System V ABI
 * passes them; null when it cannot be read.
 */
export function panicText(
  moment: Pick<Moment, 'register' | 'bytes'>,
  entry: PanicEntry,
  vcpu: number | null = null,
): string | null {
  const register = (name: string): bigint => moment.register(name, vcpu) ?? 0n;
  const text = (address: bigint): string | null => {
    const bytes = moment.bytes(address, TEXT_BYTES);
    const end = bytes.indexOf(0);
    const found = new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
    return /^[\s -~]*$/.test(found) ? found : null;
  };
  const word = (address: bigint): bigint => {
    const bytes = moment.bytes(BigInt.asUintN(64, address), 8);
    return bytes.length < 8 ? 0n : new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  };
  const format = text(register(PANIC_ENTRIES[entry] === 'second' ? 'rsi' : 'rdi'))?.trim() ?? '';
  if (format === '') return null;
  if (PANIC_ENTRIES[entry] === 'second') return format;
  let taken = 0;
  const passed = (): bigint => {
    const name = REGISTERS[taken++];
    return name === undefined ? word(register('rsp') + 8n * BigInt(taken - REGISTERS.length)) : register(name);
  };
  // va_list: the offset of the next register in the area, the stack behind them, the area
  const list = register('rsi');
  const listed = (): bigint => {
    const offset = BigInt.asUintN(32, word(list)) + 8n * BigInt(taken++);
    return offset < 48n ? word(word(list + 16n) + offset) : word(word(list + 8n) + offset - 48n);
  };
  return formatText(format, { next: PANIC_ENTRIES[entry] === 'list' ? listed : passed, text }).trim();
}

const LONGEST_LINE = 4096;

/** Watches a run for a panic. Feed it the entries passed and the console; ask it for the verdict at the end. */
export class PanicWatch {
  /** Symbols know a panic function: text alone proves nothing. */
  readonly #known: boolean;
  #entered: Sighting | null = null;
  #text: string | null = null;
  #printed: Sighting | null = null;
  #message: string | null = null;
  #line = '';
  readonly #decoder = new TextDecoder();

  constructor(known: boolean) {
    this.#known = known;
  }

  /** A vCPU stands at one of {@link panicEntries}; the first time counts. `text`: what it will say. */
  entered(at: Sighting, text: string | null): void {
    if (this.#entered !== null) return;
    this.#entered = at;
    this.#text = text;
    // what was printed before were the words of something else
    this.#printed = null;
    this.#message = null;
  }

  /** The guest wrote to its console; `at` says where it stood. */
  written(bytes: Uint8Array, at: () => Sighting): void {
    const lines = (this.#line + this.#decoder.decode(bytes, { stream: true })).split(/\r?\n|\r/);
    this.#line = lines.at(-1)!.slice(-LONGEST_LINE);
    for (const line of lines) this.#look(line, at);
  }

  /** User mode runs: whatever said so before, the kernel has not panicked. */
  userRuns(): void {
    if (this.#printed === null || this.#entered !== null) return;
    this.#printed = null;
    this.#message = null;
  }

  /** The first panic counts; a line that is still growing replaces what was known of it. */
  #look(line: string, at: () => Sighting): void {
    const message = firstMatch(line, FATAL);
    if (message === null) return;
    this.#printed ??= at();
    if (this.#message === null || message.startsWith(this.#message)) this.#message = message;
  }

  /** The verdict of a run that ended as `ending` at `end`, and where to show it. */
  verdict(ending: Verdict, end: Sighting): { readonly verdict: Verdict; readonly at: Sighting } {
    const at = this.#entered ?? (this.#known ? null : this.#printed);
    if (at === null || !this.#wins(ending)) return { verdict: ending, at: end };
    const message = this.#message ?? this.#text ?? 'the kernel panicked';
    return { verdict: { kind: 'panic', message }, at };
  }
  #wins({ kind, message }: Verdict): boolean {
    switch (kind) {
      // An ending of the machine's own is what a panic came to only where the guest got as far as saying so.
      case 'unimplemented':
      case 'triple-fault':
        return this.#message !== null;
      case 'crash':
        return !message.startsWith('domain_crash');
      // Linux's panic waits for ever, reboots or reports a crash (kernel/panic.c); a BSD's may power off.
      case 'poweroff':
        return this.#entered !== null || !LINUX.test(this.#message ?? '');
      // A guest that was cut off might have gone on behind the text.
      case 'limit':
      case 'stopped':
        return this.#entered !== null;
      default:
        return true;
    }
  }
}
