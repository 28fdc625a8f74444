/**
 * Scores `why` on the failing kernels of tools/guest-kernels/why: `node tools/run.mjs why-score [NAMES] [--variants LIST] [--json]`. Each is
 * built, recorded and explained with its symbols, without, and with wrong ones. Exit status: 0 all named, 6 not, 2 bad usage.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { commandLine, oneOf, refuse } from './command-line.ts';
import { explain } from './why-score/explain.ts';
import { type Answer, answers, build, canBuild, VARIANTS, type Variant } from './why-score/kernels.ts';
import { type Score, score, summary } from './why-score/score.ts';

interface Row {
  readonly name: string;
  readonly variant: Variant;
  readonly answer: Answer;
  readonly score: Score;
}

function rowsOf(name: string, answer: Answer, variants: readonly Variant[]): Row[] {
  const folder = mkdtempSync(join(tmpdir(), 'why-score-'));
  try {
    const { paths, functions } = build(name, folder);
    return variants.map((variant) => {
      const row = { name, variant, answer, score: score(explain(paths[variant], answer, folder), answer, functions) };
      const { mark, confirmed, faults } = row.score;
      const tried = confirmed === null ? '-' : confirmed ? 'confirmed' : 'not confirmed';
      console.error(
        `${name.padEnd(20)} ${variant.padEnd(9)} ${mark.padEnd(9)} ${tried.padEnd(13)}  ${faults.join('; ')}`,
      );
      return row;
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function main(): number {
  const { values, positionals } = commandLine({
    allowPositionals: true,
    options: { variants: { type: 'string' }, json: { type: 'boolean' } },
  });
  const all = answers();
  const names = positionals.length === 0 ? Object.keys(all) : positionals;
  for (const name of names) oneOf(name, 'kernel', Object.keys(all));
  const variants = values.variants?.split(',').map((x) => oneOf(x, 'variant', VARIANTS)) ?? VARIANTS;
  if (!canBuild()) refuse('gcc and binutils are needed');
  const rows = names.flatMap((name) => rowsOf(name, all[name]!, variants));
  if (values.json) console.log(JSON.stringify(rows.map(({ answer: _, ...row }) => row)));
  else {
    for (const variant of variants) console.log(`${variant}: ${summary(rows.filter((x) => x.variant === variant))}`);
    console.log(summary(rows));
  }
  return rows.every((x) => x.score.mark === 'named') ? 0 : 6;
}

process.exitCode = main();
