/** `hindsight debug [RECORDING]`: a prompt that walks a recording forwards and backwards. */
import { createInterface } from 'node:readline';
import type { DebugPrompt } from '../debug-prompt.ts';
import { EXIT, failureOf } from '../exit.ts';
import {
  type AddVerb,
  type CommonOptions,
  JSON_OPTION,
  onRecording,
  RECORDING_ARGUMENT,
  type Setting,
} from '../setting.ts';

/** One command and what it printed, for --json. */
interface Exchange {
  readonly command: string;
  readonly output: readonly string[];
  readonly error: { readonly code: string; readonly message: string } | null;
}

export const addDebug: AddVerb = (program, start) => {
  program
    .command('debug')
    .description('a prompt: step, back, goto, break, watch, regs, mem, dis, bt')
    .argument(...RECORDING_ARGUMENT)
    .option(...JSON_OPTION)
    .addHelpText('after', '\nCommands come from the terminal or from a pipe; `help` lists them.')
    .action((name: string | undefined, options: CommonOptions) =>
      start(options.json === true, async (setting) => {
        const exchanges = await onRecording(setting, name, 'debug', async (recording, hooks) => {
          const session = await recording.debug(hooks);
          // the disassembler behind it is large: other verbs start without
          const { DebugPrompt } = await import('../debug-prompt.ts');
          return converse(setting, new DebugPrompt(session, setting.terminal.paint), recording.info.recording);
        });
        if (setting.terminal.json) setting.terminal.answer(exchanges, () => []);
        // Somebody at a terminal has seen the errors; a script wants to know.
        const failed = exchanges.some((e) => e.error !== null);
        return failed && !setting.terminal.stdin.isTTY ? EXIT.usage : EXIT.ok;
      }),
    );
};

async function converse(setting: Setting, prompt: DebugPrompt, recording: string): Promise<Exchange[]> {
  const { terminal, interrupt } = setting;
  const { stdin, stdout } = terminal;
  const interactive = stdin.isTTY === true && !terminal.json;
  const lines = createInterface({ input: stdin, output: stdout, terminal: interactive, historySize: 500 });
  let running: AbortController | null = null;
  lines.on('SIGINT', () => {
    if (running === null) lines.close();
    else running.abort();
  });
  interrupt.signal.addEventListener('abort', () => {
    running?.abort();
    lines.close();
  });
  // the terminal is to be left as it was found
  if (interactive) interrupt.arm();
  if (!terminal.json) terminal.aside(`${recording}. \`help\` lists the commands.`);
  const exchanges: Exchange[] = [];
  const ask = (): void => {
    if (!interactive) return;
    lines.setPrompt(`${prompt.tick}> `);
    lines.prompt();
  };
  if (!terminal.json) for (const line of prompt.where()) terminal.aside(line);
  ask();
  for await (const command of lines) {
    running = new AbortController();
    const exchange = await run(prompt, command.trim(), running.signal);
    running = null;
    exchanges.push(exchange);
    if (!terminal.json) {
      for (const line of exchange.output) terminal.aside(line);
      if (exchange.error !== null) terminal.complain(`${exchange.error.code}: ${exchange.error.message}`);
    }
    if (prompt.done) break;
    ask();
  }
  lines.close();
  return exchanges;
}

/** A mistake in a command ends the command, not the session; our own bugs end both. */
async function run(prompt: DebugPrompt, command: string, stop: AbortSignal): Promise<Exchange> {
  try {
    return { command, output: await prompt.execute(command, { stop, progress: () => {} }), error: null };
  } catch (error) {
    const failure = failureOf(error);
    if (stop.aborted) return { command, output: ['stopped'], error: null };
    if (failure.status === EXIT.bug) throw error;
    return { command, output: [], error: { code: failure.code, message: failure.message } };
  }
}
