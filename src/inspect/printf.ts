/** Text as C's printf family makes it, from a format string and arguments in a guest's registers and memory. */

/** Where arguments come from; each is asked for once, in order. */
export interface PrintfArguments {
  /** The next argument's 64 bits. */
  next(): bigint;
  /** The text at an address, null where none can be read. */
  text(address: bigint): string | null;
}

const CONVERSION = /%([-+ #0]*)(\*|\d+)?(?:\.(\*|\d+)?)?(hh|h|ll|l|z|t|j|q|L)?([a-zA-Z%])(?:(?<=p)[a-zA-Z]\w*)?/g;
/** What a hostile format may ask for at most. */
const WIDEST = 256;
/** Bits of an integer by its length modifier; 32 without one. */
const BITS: Readonly<Record<string, number>> = { hh: 8, h: 16, l: 64, ll: 64, z: 64, t: 64, j: 64, q: 64, L: 64 };

/** Fills a format string in. `?` stands for what cannot be known; Linux's extensions of %p are shown as the pointer. */
export function formatText(format: string, from: PrintfArguments): string {
  return format.replace(
    CONVERSION,
    (_all, flags: string, width: string, precision: string, length: string, kind: string) => {
      if (kind === '%') return '%';
      const count = (given: string | undefined): number | null => {
        if (given === undefined) return null;
        const value = given === '*' ? Number(BigInt.asIntN(32, from.next())) : Number(given);
        return Math.min(Math.max(value, 0), WIDEST);
      };
      const [least, most] = [count(width), count(precision)];
      const text = converted(kind, { bits: BITS[length] ?? 32, most, alternate: flags.includes('#'), from });
      if (flags.includes('-')) return text.padEnd(least ?? 0);
      return text.padStart(least ?? 0, flags.includes('0') && most === null && kind !== 's' ? '0' : ' ');
    },
  );
}

function converted(
  kind: string,
  how: { bits: number; most: number | null; alternate: boolean; from: PrintfArguments },
): string {
  const { bits, most, alternate, from } = how;
  const digits = (value: bigint, radix: number): string => value.toString(radix).padStart(most ?? 0, '0');
  const integer = (radix: number): string =>
    BigInt.asUintN(bits, from.next())
      .toString(radix)
      .padStart(most ?? 0, '0');
  switch (kind) {
    case 's': {
      const text = from.text(from.next()) ?? '?';
      return most === null ? text : text.slice(0, most);
    }
    case 'd':
    case 'i': {
      const value = BigInt.asIntN(bits, from.next());
      return value < 0n ? `-${digits(-value, 10)}` : digits(value, 10);
    }
    case 'u':
      return integer(10);
    case 'x':
      return `${alternate ? '0x' : ''}${integer(16)}`;
    case 'X':
      return `${alternate ? '0X' : ''}${integer(16).toUpperCase()}`;
    case 'o':
      return integer(8);
    case 'c':
      return String.fromCharCode(Number(from.next() & 0x7fn));
    case 'p':
      return `0x${from.next().toString(16)}`;
    default:
      from.next();
      return '?';
  }
}
