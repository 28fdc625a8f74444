/** What is wrong with a tool's command line is told in a line, and ends it with status 2 before it does anything. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const TOOLS = resolve(import.meta.dirname, '../../tools');
/** Parts of tools, and what only another program starts. */
const PARTS = ['command-line', 'counts-reporter'];
const NAMES = [
  ...readdirSync(TOOLS)
    .filter((file) => file.endsWith('.ts'))
    .map((file) => file.slice(0, -3))
    .filter((name) => !PARTS.includes(name)),
  ...['bench', 'engine', 'memory', 'overhead', 'startup'].map((name) => `bench/${name}`),
  'guest-kernels/transcripts',
];

function refusal(command: string): string {
  const [name, ...args] = command.split(' ');
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(TOOLS, `${name}.ts`), ...args], {
    encoding: 'utf8',
  });
  expect([stdout, status, stderr]).toEqual(['', 2, expect.not.stringMatching(/^ +at /m)]);
  return stderr;
}

test.each(NAMES)('%s refuses an option that it does not know', (name) => {
  expect(refusal(`${name} --nonsense`)).toContain(name === 'edit-journal' ? 'write RECORDING' : "'--nonsense'");
});

test.each([
  ['silicon --cases many', '--cases many: not a whole number of at least 1'],
  ['silicon --mode 65', '--mode 65: there are 64, compat, prot32, prot16, all'],
  ['silicon --form (', '--form (: Invalid regular expression'],
  ['silicon --seconds 0', '--seconds 0: not a number above 0'],
  ['pin-vectors --mode 65', '--mode 65: there are'],
  ['pin-vectors --seed x', '--seed x: not a whole number'],
  ['check-timeline --spacings 1.5', '--spacings 1.5: not a whole number'],
  ['fuzz-tiers --tiers hot,warm', '--tiers warm: there are hot, cold, oracle'],
  ['fuzz-tiers --jobs 0', '--jobs 0: not a whole number of at least 1'],
  ['fuzz-tiers --stops 1,x', '--stops x: not a whole number'],
  ['fuzz-tiers --mutation nosuch', 'no mutation nosuch; there are'],
  ['fuzz-hypercalls --minutes soon', '--minutes soon: not a number above 0'],
  ['fuzz-hypercalls --mutation nosuch', 'no mutation nosuch; there are'],
  ['load-images nosuch-folder', 'no such file or directory'],
  ['load-images . --memory much', '--memory much: not a size'],
  ['trace-guest x --memory y', '--memory y: not a whole number'],
  ['trace-guest', 'usage: '],
  ['xen-trace a b --show x', '--show x: not a whole number'],
  ['edit-journal x 1 soon y', 'E_NOT_FOUND'],
  ['ir zz', 'no form zz'],
  ['ir 06', 'not an instruction'],
  ['forms 65', 'mode 65: there are 16, 32, 64'],
  ['bench/bench --runs 0', '--runs 0: not a whole number'],
  ['bench/engine 1 warm', 'tier warm: there are hot, cold'],
  ['bench/memory --only all', '--only all: there are boot, newcode'],
  ['bench/overhead few', 'PAIRS few: not a whole number'],
])('%s is refused', (command, why) => {
  expect(refusal(command)).toContain(why);
});
