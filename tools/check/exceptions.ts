/**
 * The findings, by what they are about, that are not `known`; a known one that is none any more is a finding itself, so that a list
 * of exceptions says what is true. `list` is the file that has it.
 */
export function unexpected(found: ReadonlyMap<string, string>, known: Iterable<string>, list: string): string[] {
  const expected = new Set(known);
  return [
    ...[...found].filter(([about]) => !expected.has(about)).map(([, finding]) => finding),
    ...[...expected].filter((about) => !found.has(about)).map((about) => `${about}: no exception any more (${list})`),
  ];
}
