/** `hindsight bisect --when EXPRESSION [RECORDING]`: the first instruction that makes a predicate true. */
import { EmulatorError } from '../../core/errors.ts';
import { renderBisect } from '../../inspect/render.ts';
import { EXIT } from '../exit.ts';
import { looksLikeTick, parseTick } from '../parsers.ts';
import { type AddVerb, type CommonOptions, JSON_OPTION, onRecording, RECORDING_ARGUMENT } from '../setting.ts';

interface Options extends CommonOptions {
  readonly when: string;
  readonly monotone?: true;
  readonly from?: string;
  readonly to?: string;
}

const HELP = `
Predicates:
  rip in panic            panic+0x1b && rdi == 0  rax == 0 && rbx > 0x10      cpu[0].rsp
  u64[rsp + 8] == 1       u32[pa:0x1000]          u64[ma:0x1234000] & 2       prev(u8[flag]) != u8[flag]
  console ~ "Oops"        pte(0xffff...).w        type(0x1234) == "segdesc"   count(call(init)) == 2
  pin.result == -22       mmu_update.result < 0   pending(3)                  masked(3)`;

export const addBisect: AddVerb = (program, start) => {
  program
    .command('bisect')
    .description('the first instruction at which a predicate becomes true')
    .argument(...RECORDING_ARGUMENT)
    .requiredOption('--when <expression>', 'the predicate')
    .option('--first', 'look at every step, exact (the default)')
    .option('--monotone', 'search binarily: right only where the predicate never turns false again')
    .option('--from <tick>', 'search from this tick')
    .option('--to <tick>', 'search up to this tick')
    .option(...JSON_OPTION)
    .addHelpText('after', HELP)
    .action((name: string | undefined, options: Options) =>
      start(options.json === true, async (setting) => {
        const { terminal } = setting;
        for (const tick of [options.from, options.to])
          if (tick !== undefined && !looksLikeTick(tick)) throw new EmulatorError('E_USAGE', `${tick}: not a tick`);
        const report = await onRecording(setting, name, 'bisect', (recording, hooks) => {
          const tick = (text: string | undefined): number | null =>
            text === undefined ? null : parseTick(text, recording.info.ticks);
          const { when, monotone = false } = options;
          return recording.bisect({ when, monotone, from: tick(options.from), to: tick(options.to) }, hooks);
        });
        terminal.answer(report, () => renderBisect(report, options.when, terminal.paint));
        return report.tick === null ? EXIT.never : EXIT.ok;
      }),
    );
};
