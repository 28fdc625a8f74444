/**
 * Whether a guest kernel panicked: by the entry of its panic function where symbols know it, else by what it prints.
 *
 * A panic wins over the ending that the guest chooses afterwards (a shutdown, waiting for ever). It does not win over a
 * domain that Xen crashed: there Xen's words are the verdict, and the panic is a link of the chain that `why` shows.
 */
import type { Tick, VirtAddr } from '../core/units.ts';
import type { Verdict } from '../x86/seam.ts';
import type { Moment } from './moment.ts';
import type { SymbolTable } from './symbols.ts';

/** Functions whose entry is a panic: Linux `panic`, NetBSD `panic` and `vpanic`. */
export const PANIC_ENTRIES = ['panic', 'vpanic', 'nmi_panic'] as const;
/** Console lines of a kernel that has given up. */
const FATAL = [/Kernel panic - not syncing.*/, /(?<=^\s*(?:\[[\s\d.]+\]\s*)?)panic(?:\[[^\]]*\])?: .*/];
/** Console lines of a kernel that may yet go on. */
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
export function panicEntries(symbols: Pick<SymbolTable, 'address'>): VirtAddr[] {
  return PANIC_ENTRIES.map((name) => symbols.address(name)).filter((address) => address !== null);
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

/** The text at RDI on entry to a panic function: its format string; null when it cannot be read. */
export function panicFormat(moment: Pick<Moment, 'register' | 'bytes'>, vcpu: number | null = null): string | null {
  const bytes = moment.bytes(moment.register('rdi', vcpu) ?? 0n, 256);
  const end = bytes.indexOf(0);
  if (end <= 0) return null;
  const text = new TextDecoder().decode(bytes.subarray(0, end));
  return /^[\s -~]+$/.test(text) ? text.trim() : null;
}

const LONGEST_LINE = 4096;

/** Watches a run for a panic. Feed it the entries passed and the console; ask it for the verdict at the end. */
export class PanicWatch {
  #entered: Sighting | null = null;
  #format: string | null = null;
  #printed: Sighting | null = null;
  #fatal = false;
  #message: string | null = null;
  #line = '';
  readonly #decoder = new TextDecoder();

  /** A vCPU stands at one of {@link panicEntries}; the first time counts. */
  entered(at: Sighting, format: string | null): void {
    if (this.#entered !== null) return;
    this.#entered = at;
    this.#format = format;
  }

  /** The guest wrote to its console; `at` says where it stood. */
  written(bytes: Uint8Array, at: () => Sighting): void {
    const lines = (this.#line + this.#decoder.decode(bytes, { stream: true })).split(/\r?\n|\r/);
    this.#line = lines.at(-1)!.slice(-LONGEST_LINE);
    for (const line of lines) this.#look(line, at);
  }

  /** The first panic counts; a line that is still growing replaces what was known of it. */
  #look(line: string, at: () => Sighting): void {
    const fatal = firstMatch(line, FATAL);
    const message = fatal ?? (this.#fatal ? null : firstMatch(line, SERIOUS));
    if (message === null) return;
    const stronger = fatal !== null && !this.#fatal;
    if (this.#printed === null || stronger) this.#printed = at();
    if (this.#message === null || stronger || message.startsWith(this.#message)) this.#message = message;
    this.#fatal ||= fatal !== null;
  }

  /** True once the guest has panicked beyond doubt: it will not go on by itself. */
  get panicked(): boolean {
    return this.#entered !== null || this.#fatal;
  }

  /** The verdict of a run that ended as `ending` at `end`, and where to show it. */
  verdict(ending: Verdict, end: Sighting): { readonly verdict: Verdict; readonly at: Sighting } {
    const at = this.#entered ?? this.#printed;
    if (at === null || !wins(ending, this.panicked, this.#fatal)) return { verdict: ending, at: end };
    const message = this.#message ?? this.#format ?? 'the kernel panicked';
    return { verdict: { kind: 'panic', message }, at };
  }
}

/**
 * An oops alone explains only an ending that the guest did not choose; an ending of the machine's own is what a panic came to
 * only where the guest got as far as saying so.
 */
function wins(ending: Verdict, panicked: boolean, announced: boolean): boolean {
  if (ending.kind === 'unimplemented' || ending.kind === 'triple-fault') return announced;
  if (ending.kind === 'crash') return !ending.message.startsWith('domain_crash');
  return panicked || ending.kind === 'hang';
}
