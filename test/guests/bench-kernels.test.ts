/** The benchmark kernels come to the results that QEMU's TCG (7.2) printed for them; `npm run bench` compares all its peers again. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { DEFAULT_EPOCH_SECONDS, DEFAULT_TSC_KHZ } from '../../src/machine/config.ts';
import { Run } from '../../src/timeline/run.ts';

const IMAGE = readFileSync(resolve(import.meta.dirname, '../../tools/guest-kernels/bench/bench.elf'));

test.each([
  ['sieve', '0000000000014069'],
  ['hash', '2adb4a8871f5e6e5'],
  ['calls', 'eebefa3633e33cc5'],
  ['bytecode', 'f5c9ec3dbbcaa7a0'],
  ['scattered200', '1914a953b76a0618'],
  ['copy', '1a1a1a1a1a21da1a'],
  ['newcode', '02f8fa4463448923'],
])('%s, one round', (name, result) => {
  const run = new Run(
    {
      platform: 'xen-pv',
      images: { kernel: IMAGE },
      commandLine: `${name} 1`,
      memoryBytes: 64 << 20,
      vcpus: 1,
      cpuPolicy: 'x86-64-v1',
      tscKhz: DEFAULT_TSC_KHZ,
      epochSeconds: DEFAULT_EPOCH_SECONDS,
    },
    { tier: 'hot' },
  );
  let text = '';
  run.onOutput = (bytes) => {
    text += new TextDecoder().decode(bytes);
  };
  const end = run.runTo(100e6);
  expect(text).toBe(`bench ${name} 1 ${result}\n`);
  expect(end).toMatchObject({ kind: 'stop', stop: { verdict: { kind: 'poweroff' } } });
});
