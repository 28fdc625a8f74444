/** The verbs of the command line, run in this process on recordings on disk. */
import { PassThrough } from 'node:stream';
import { Interrupt } from '../../src/cli/interrupt.ts';
import { LOCAL_BACKEND } from '../../src/cli/local-backend.ts';
import { run } from '../../src/cli/program.ts';

/** Runs a command line; what it printed, standard error among it. */
export async function verb(args: readonly string[], input = ''): Promise<{ status: number; text: string }> {
  const stdin = new PassThrough();
  stdin.end(input);
  const stdout = new PassThrough();
  let text = '';
  stdout.on('data', (data) => {
    text += data;
  });
  const status = await run(args, {
    streams: { stdin, stdout, stderr: stdout } as never,
    cwd: () => process.cwd(),
    backend: async () => LOCAL_BACKEND,
    interrupt: new Interrupt(),
    now: () => new Date(0),
    version: 'test',
    trace: false,
  });
  return { status, text };
}

const VERBS: ReadonlyArray<readonly [verb: string, ...rest: string[]]> = [
  ['info'],
  ['verify'],
  ['replay'],
  ['goto', 'end'],
  ['goto', '50%'],
  ['why'],
  ['bisect', '--when', 'console ~ "round"'],
  ['bisect', '--when', 'rax == 0x123456789'],
  ['events', '--only', 'upcall'],
  ['debug'],
];
/** What each verb answers about a recording. */
export async function answers(
  path: string,
  verbs = VERBS,
): Promise<Array<{ verb: string; status: number; text: string }>> {
  const all: Array<{ verb: string; status: number; text: string }> = [];
  for (const [name, ...rest] of verbs)
    all.push({ verb: name, ...(await verb([name, path, ...rest], 'goto end\nback\nregs\nbt\n')) });
  return all;
}
