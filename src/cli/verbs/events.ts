/** `hindsight events [RECORDING]`: hypercalls, exceptions, upcalls, input and Xen's lines, in order. */
import { hex } from '../../core/units.ts';
import type { RunEvent } from '../../inspect/investigate.ts';
import { type Paint, table, tickText } from '../../inspect/render.ts';
import { symbolText } from '../../inspect/symbol-text.ts';
import type { SymbolTable } from '../../inspect/symbols.ts';
import { EXIT } from '../exit.ts';
import { parseTick } from '../parsers.ts';
import { type AddVerb, type CommonOptions, JSON_OPTION, onRecording, RECORDING_ARGUMENT } from '../setting.ts';

interface Options extends CommonOptions {
  readonly only: readonly string[];
  readonly from?: string;
  readonly to?: string;
}

/** An event with the symbol of its place; results are numbers, for errors are negative. */
type NamedEvent = Omit<RunEvent, 'fields'> & {
  readonly symbol: string | null;
  readonly fields: Readonly<Record<string, bigint | number>>;
};

/** A result as a number where it is exact as one. */
const fieldsOf = ({ fields }: RunEvent): NamedEvent['fields'] => {
  const result = Number(fields.result);
  return Number.isSafeInteger(result) ? { ...fields, result } : fields;
};

export const addEvents: AddVerb = (program, start) => {
  program
    .command('events')
    .description('what happened: hypercalls with results, exceptions, upcalls, input')
    .argument(...RECORDING_ARGUMENT)
    .option(
      '--only <name>',
      'a kind (hypercall, trap, upcall, log, input, timer, idle) or a name (mmu_update, pin, page_fault); repeatable',
      (v, all: string[]) => [...all, v],
      [],
    )
    .option('--from <tick>', 'from this tick on')
    .option('--to <tick>', 'up to this tick')
    .option(...JSON_OPTION)
    .action((name: string | undefined, options: Options) =>
      start(options.json === true, async (setting) => {
        const { terminal } = setting;
        const lines = eventLines(terminal.paint);
        await onRecording(setting, name, 'events', async (recording, hooks) => {
          const { ticks, recording: path } = recording.info;
          const tick = (text: string | undefined): number | null =>
            text === undefined ? null : parseTick(text, ticks);
          const filter = { names: options.only, from: tick(options.from), to: tick(options.to) };
          const { symbols } = await recording.debug(hooks);
          // a bar between the lines would be in their way
          const quiet = terminal.stdout.isTTY ? { ...hooks, progress: () => {} } : hooks;
          const events = named(recording.events(filter, quiet), symbols);
          await terminal.answerList({ recording: path }, 'events', events, lines, hooks.stop);
        });
        return EXIT.ok;
      }),
    );
};

async function* named(
  batches: AsyncIterable<readonly RunEvent[]>,
  symbols: SymbolTable,
): AsyncGenerator<readonly NamedEvent[]> {
  for await (const events of batches)
    yield events.map((e) => ({ ...e, fields: fieldsOf(e), symbol: symbolText(symbols, e.rip) }));
}

/** Lines of one batch after the other, in common columns as far as they are known. */
function eventLines(paint: Paint): (events: readonly NamedEvent[]) => string[] {
  const widths: number[] = [];
  return (events) =>
    table(
      events.map((e) => [tickText(e.tick), e.symbol ?? hex(e.rip), paint.cyan(e.name), detail(e)]),
      [0],
      widths,
    );
}

function detail({ fields, text }: NamedEvent): string {
  const { result, ...rest } = fields;
  const parts = Object.entries(rest).map(([name, value]) => `${name}=${hex(value)}`);
  return [...parts, ...(result === undefined ? [] : [`= ${result}`]), ...(text === null ? [] : [text])].join(' ');
}
