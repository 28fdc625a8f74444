/** `hindsight goto [RECORDING] TICK`: the state at a tick. */
import { EmulatorError } from '../../core/errors.ts';
import { hex } from '../../core/units.ts';
import { type Paint, table, tickText } from '../../inspect/render.ts';
import type { GotoResult } from '../backend.ts';
import { EXIT } from '../exit.ts';
import { looksLikeTick, parseTick } from '../parsers.ts';
import { type AddVerb, type CommonOptions, JSON_OPTION, onRecording } from '../setting.ts';

export const addGoto: AddVerb = (program, start) => {
  program
    .command('goto')
    .description('the registers, the instruction and the state hash at a tick')
    .usage('[options] [recording] <tick>')
    .argument('<place...>', 'a recording (default: the latest) and a tick: a number, start, end, end-100 or 50%')
    .option(...JSON_OPTION)
    .action((place: string[], options: CommonOptions) =>
      start(options.json === true, async (setting) => {
        const { terminal } = setting;
        const { name, tick } = splitPlace(place);
        const result = await onRecording(setting, name, 'goto', (recording, hooks) =>
          recording.goto(parseTick(tick, recording.info.ticks), hooks),
        );
        terminal.answer(result, () => gotoLines(result, terminal.paint));
        return EXIT.ok;
      }),
    );
};

/** The tick stands last; it is taken first too, where that is the one that looks like a tick. */
function splitPlace(place: readonly string[]): { name: string | undefined; tick: string } {
  const [first, second] = place;
  if (place.length > 2) throw new EmulatorError('E_USAGE', `goto takes a recording and a tick, not ${place.join(' ')}`);
  if (second === undefined) return { name: undefined, tick: first! };
  return looksLikeTick(second) || !looksLikeTick(first!)
    ? { name: first, tick: second }
    : { name: second, tick: first! };
}

/** A state in words. */
function gotoLines(result: GotoResult, paint: Paint): string[] {
  const place = result.symbol ?? hex(result.rip);
  return [
    `tick ${paint.bold(tickText(result.tick))} on vCPU ${result.vcpu} in ${paint.cyan(place)}`,
    `${paint.dim(hex(result.rip))}  ${paint.yellow(result.instruction)}`,
    ...registerLines(result.registers),
    paint.dim(`state hash 0x${result.stateHash.toString(16).padStart(32, '0')}`),
  ];
}

/** Registers in rows of four. */
export function registerLines(registers: Readonly<Record<string, bigint>>): string[] {
  const cells = Object.entries(registers).map(([name, value]) => [name, value.toString(16).padStart(16, '0')]);
  const rows: string[][] = [];
  for (let i = 0; i < cells.length; i += 4) rows.push(cells.slice(i, i + 4).flat());
  return table(rows, [0, 2, 4, 6]);
}
