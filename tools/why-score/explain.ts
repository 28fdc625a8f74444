/** Records a kernel and asks `why`, by the command line as anybody would. */
import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Answer } from './kernels.ts';
import type { Told } from './score.ts';

const MAIN = resolve(import.meta.dirname, '../../src/cli/main.ts');
const TICKS = 2_000_000_000;
const MEMORY = '32M';

function hindsight(...words: string[]): string {
  const { stdout, stderr, status } = spawnSync(process.execPath, [MAIN, ...words], { encoding: 'utf8', input: '' });
  if (status === 0 || stdout.startsWith('{')) return stdout;
  throw new Error(`hindsight ${words.join(' ')}: ${stderr}`);
}

/** What `why` tells of an image, recorded as its answer says; throws what the program says where it fails. */
export function explain(image: string, answer: Answer, folder: string): Told {
  const recording = join(folder, 'run');
  const options = ['--memory', MEMORY, '--limit-ticks', String(TICKS), '--idle-limit', '5s', '--json', '-o', recording];
  if (answer.initrd !== undefined) {
    const initrd = join(folder, 'initrd');
    writeFileSync(initrd, Buffer.from(answer.initrd, 'hex'));
    options.push('--initrd', initrd);
  }
  if (answer.type !== undefined) options.push('--type', answer.type);
  hindsight('record', image, ...options, ...(answer.commandLine === undefined ? [] : ['--', answer.commandLine]));
  const told = JSON.parse(hindsight('why', `${recording}.hs`, '--json')) as Told;
  rmSync(`${recording}.hs`, { recursive: true });
  return told;
}
