/**
 * `npm start`: Hindsight shown on a kernel that dies while it boots. Every step prints the command that a user would type.
 */
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hex } from '../../core/units.ts';
import { renderBisect, renderVerdict, renderWhy, tickText } from '../../inspect/render.ts';
import type { BisectReport, WhyReport } from '../../inspect/report.ts';
import { EXIT } from '../exit.ts';
import { type AddVerb, type CommonOptions, JSON_OPTION, onRecording, type Setting } from '../setting.ts';
import { RECORD_DEFAULTS, recordGuest } from './record.ts';
import { replayRecording } from './replay.ts';
import { verifyRecording } from './verify.ts';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
const IMAGE = join(ROOT, 'tools/guest-kernels/failing-boot/failing-boot.elf');
const RECORDING = '.hindsight/failing-boot.hs';
const MEMORY = 32 * 2 ** 20;
/** What the kernel complains about, as an expression: Xen refused to pin its page tables. */
const WHEN = 'pin.result == -16';

export const addDemo: AddVerb = (program, start) => {
  program
    .command('demo')
    .description('show all of this on a kernel that dies while it boots (npm start)')
    .option(...JSON_OPTION)
    .action((options: CommonOptions) => start(options.json === true, demo));
};

async function demo(setting: Setting): Promise<number> {
  const { terminal } = setting;
  const { paint } = terminal;
  const say = (text = ''): void => terminal.aside(text);
  const command = (line: string): void => {
    say();
    say(paint.bold(paint.cyan(`$ npx hindsight ${line}`)));
  };
  if (setting.recordings.isThere(RECORDING)) setting.recordings.remove(RECORDING);

  say(
    `${paint.bold('Hindsight')} records a kernel's boot, replays it bit for bit, and walks it back to the instruction`,
  );
  say('that broke it. Here is a small Xen PV kernel that dies while it boots. The crash is far from its cause.');
  const image = relative(process.cwd(), IMAGE);
  command(`record ${image} --memory 32M -o ${RECORDING}`);
  const recordOptions = { ...RECORD_DEFAULTS, memory: MEMORY, output: RECORDING };
  const { result, times } = await recordGuest(setting, IMAGE, '', recordOptions);
  say(renderVerdict(result.verdict, paint));
  say(`${tickText(result.ticks)} steps recorded in ${times.seconds} s.`);
  say(paint.dim('That is all one usually has: a dead guest and a few lines. From here on nothing is guessed.'));

  command(`replay ${RECORDING}`);
  const replay = await replayRecording(setting, RECORDING, false);
  const verified = replay.result.verified ? paint.green('verified') : paint.red('NOT verified');
  say(`${verified}: the same ${tickText(replay.result.ticks)} steps, every hash on the way equal.`);

  command(`verify ${RECORDING}`);
  const whole = await verifyRecording(setting, RECORDING);
  say(
    `${whole.ok ? paint.green('whole') : paint.red('damaged')}: ${whole.journalBlocks} journal blocks, ${whole.snapshots} snapshots.`,
  );

  command(`bisect ${RECORDING} --when '${WHEN}'`);
  const failed = await search(setting, WHEN);
  for (const line of renderBisect({ ...failed, backtrace: [] }, WHEN, paint)) say(line);
  say(paint.dim('Here Xen says no. But nothing is wrong with this call: it only brings older damage to light. So:'));

  command(`why ${RECORDING}`);
  const report = await onRecording(setting, RECORDING, 'why', (recording, hooks) => recording.why(hooks, false));
  terminal.answer({ record: { ...result, ...times }, replay: replay.result, bisect: failed, why: report }, () =>
    renderWhy(report, paint, terminal.width),
  );
  for (const line of moral(report, failed)) say(line);
  return EXIT.ok;
}

const search = (setting: Setting, when: string): Promise<BisectReport> =>
  onRecording(setting, RECORDING, 'bisect', (recording, hooks) =>
    recording.bisect({ when, monotone: false, from: null, to: null }, hooks),
  );

/** The lesson, and what to try next. */
function moral({ lastWriter }: WhyReport, failed: BisectReport): string[] {
  if (lastWriter === null) return [];
  const distance = failed.tick === null ? '' : ` ${tickText(failed.tick - lastWriter.tick)} steps before Xen noticed,`;
  return [
    '',
    `The culprit is not the pin that failed. It is one store,${distance} in ${lastWriter.symbol ?? hex(lastWriter.rip)}:`,
    `it wrote ${hex(lastWriter.value)}, whose bit 1 makes a page writable that Xen holds as a descriptor table.`,
    '',
    `Stand on it yourself:   npx hindsight goto ${RECORDING} ${lastWriter.tick}`,
    `Walk about, backwards:  npx hindsight debug ${RECORDING}`,
    'Record your own kernel: npx hindsight record vmlinuz --initrd initrd.gz -- console=hvc0',
  ];
}
