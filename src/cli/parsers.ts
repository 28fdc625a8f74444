/** Sizes, times, ticks and typing rules of the command line. Each throws E_USAGE with the option's name. */

import { memoryProblem } from '../core/domain-memory.ts';
import { EmulatorError } from '../core/errors.ts';
import { patternOf } from '../core/pattern.ts';
import type { Tick } from '../core/units.ts';
import { CPU_POLICIES, cpuPolicyOf } from '../x86/features.ts';
import type { CpuPolicy } from '../x86/form.ts';

const usage = (message: string): never => {
  throw new EmulatorError('E_USAGE', message);
};

const SIZES: Readonly<Record<string, number>> = { k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** Bytes of `256M`, `1G`, `65536k`; a plain number means bytes. */
export function parseSize(text: string, option: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmg])?(?:i?b)?$/i.exec(text.trim());
  if (match === null) return usage(`${option} ${text}: not a size; write for example 256M or 1G`);
  const bytes = Number(match[1]) * (SIZES[match[2]?.toLowerCase() ?? ''] ?? 1);
  if (!Number.isSafeInteger(bytes) || bytes <= 0)
    return usage(`${option} ${text}: not a whole number of bytes above 0`);
  return bytes;
}

/** Bytes of guest memory, as {@link parseSize} takes them; within what a domain can have. */
export function parseMemory(text: string, option: string): number {
  const bytes = parseSize(text, option);
  const problem = memoryProblem(bytes);
  return problem === null ? bytes : usage(`${option} ${text}: ${problem}`);
}

const TIMES: Readonly<Record<string, number>> = { ms: 1e-3, s: 1, m: 60, min: 60, h: 3600 };

/** Nanoseconds are counted to 2^53. */
const MAX_SECONDS = Math.floor(Number.MAX_SAFE_INTEGER / 1e9);

/** Seconds of `30s`, `500ms`, `2m`, `1h`; a plain number means seconds. */
export function parseTime(text: string, option: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|min|m|h)?$/i.exec(text.trim());
  const seconds = match === null ? 0 : Number(match[1]) * TIMES[match[2]?.toLowerCase() ?? 's']!;
  if (seconds <= 0) return usage(`${option} ${text}: not a time; write for example 30s, 500ms or 2m`);
  if (seconds > MAX_SECONDS) return usage(`${option} ${text}: virtual time ends after ${MAX_SECONDS} s`);
  return seconds;
}

/** A whole number from `least` on; `1_000_000` is one. */
export function parseCount(text: string, option: string, least = 1): number {
  const value = /^\d[\d_]*$/.test(text) ? Number(text.replaceAll('_', '')) : Number.NaN;
  if (!Number.isSafeInteger(value) || value < least)
    return usage(`${option} ${text}: not a whole number of at least ${least}`);
  return value;
}

/** The name of a CPU policy. */
export function parseCpu(text: string, option: string): CpuPolicy {
  return cpuPolicyOf(text) ?? usage(`${option} ${text}: not a CPU; there are ${CPU_POLICIES.join(', ')}`);
}

/** True for what {@link parseTick} takes as a tick. */
export const looksLikeTick = (text: string): boolean => /^(\d[\d_]*|\d+(\.\d+)?%|start|end([+-]\d[\d_]*)?)$/.test(text);

/** A tick: a number, `start`, `end`, `end-100` or `50%` of the recording. E_TICK when the recording does not reach it. */
export function parseTick(text: string, ticks: Tick): Tick {
  if (!looksLikeTick(text)) return usage(`${text}: not a tick; write a number, start, end, end-100 or 50%`);
  if (text === 'start') return 0;
  if (text.endsWith('%')) return within(Math.round((Number(text.slice(0, -1)) / 100) * ticks), ticks, text);
  const number = Number(text.replace(/^end\+?/, '').replaceAll('_', ''));
  return within(text.startsWith('end') ? ticks + number : number, ticks, text);
}

function within(tick: Tick, ticks: Tick, text: string): Tick {
  if (tick >= 0 && tick <= ticks) return tick;
  throw new EmulatorError('E_TICK', `tick ${text} is outside the recording, which has the ticks 0 to ${ticks}`);
}

/** When the console output since the last match matches `pattern`, `text` is typed. */
export interface TypeRule {
  /** As it was given. */
  readonly rule: string;
  readonly pattern: RegExp;
  readonly text: string;
}

const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  r: '\r',
  t: '\t',
  e: '\x1b',
  b: '\b',
  '0': '\0',
  '\\': '\\',
};

/** `REGEX=>TEXT`; TEXT knows \n \r \t \e \b \0 \\ and \xHH. The last `=>` separates. */
export function parseTypeRule(text: string): TypeRule {
  const at = text.lastIndexOf('=>');
  if (at <= 0) return usage(`--type ${text}: write REGEX=>TEXT, for example 'login: $=>root\\n'`);
  const typed = text
    .slice(at + 2)
    .replace(/\\(x[0-9a-f]{2}|.)/gi, (_, code: string) =>
      code.length === 3 ? String.fromCharCode(Number.parseInt(code.slice(1), 16)) : (ESCAPES[code] ?? code),
    );
  try {
    return { rule: text, pattern: patternOf(text.slice(0, at)), text: typed };
  } catch (error) {
    return usage(`--type ${text}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
