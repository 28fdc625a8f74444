/**
 * The grammar of predicates: JavaScript's expressions, parsed by acorn, and what of it is ours: `console ~ "..."`, `pa:` in front
 * of an address, and names of symbols with dots in them (`reset.cold`, `probe.constprop.0`).
 */
import { type Expression, parse as parseProgram } from 'acorn';
import { EmulatorError } from '../core/errors.ts';

/** An expression, and how to get back to what was written. */
export interface Parsed {
  readonly expression: Expression;
  /** The name that was written for an identifier: symbols with dots stand under names of ours. */
  written(identifier: string): string;
  /** The text of a part. */
  text(node: Expression): string;
}

/** Throws E_EXPRESSION for `source`. */
export function refuse(source: string, why: string): never {
  throw new EmulatorError('E_EXPRESSION', `cannot understand the expression ${JSON.stringify(source)}: ${why}`);
}

const OURS =
  /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\bconsole\s*~|\b(pa|ma|va)\s*:|[A-Za-z_.$][\w$]*(?:[.@][\w$]+)+|\.[A-Za-z_][\w$]*/g;

/** Parses one expression; E_EXPRESSION when it is none. `isSymbol` tells names with dots from fields of events. */
export function parseExpression(source: string, isSymbol: (name: string) => boolean): Parsed {
  const symbols = new Map<string, string>();
  const text = source.replace(OURS, (part, space?: string) => {
    // `~` and `pa:` become operators of the same standing that JavaScript has
    if (space !== undefined) return `${space},`;
    if (/^["']/.test(part)) return part;
    if (part.endsWith('~')) return 'console**';
    if (!isSymbol(part)) return part;
    const name = `$${symbols.size}$`;
    symbols.set(name, part);
    return name;
  });
  let program: ReturnType<typeof parseProgram>;
  try {
    program = parseProgram(text, { ecmaVersion: 2023 });
  } catch (error) {
    return refuse(source, error instanceof Error ? error.message : String(error));
  }
  const [first, second] = program.body;
  if (first?.type !== 'ExpressionStatement' || second !== undefined) return refuse(source, 'it is not one expression');
  const written = (identifier: string): string => symbols.get(identifier) ?? identifier;
  return {
    expression: first.expression,
    written,
    text: ({ start, end }) => {
      const part = text.slice(start, end).replace(/\$\d+\$/g, written);
      return part.replaceAll('console**', 'console ~').replace(/\b(pa|ma|va),/g, '$1:');
    },
  };
}
