/**
 * Runs a PV guest and writes its hypercalls as JSON lines, the log that `tools/xen-trace.ts` compares with real Xen:
 * `node tools/run.mjs trace-guest IMAGE [options] -- COMMAND LINE`.
 */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { DEFAULT_EPOCH_SECONDS, DEFAULT_TSC_KHZ } from '../src/machine/config.ts';
import { buildPvMachine } from '../src/machine/xen-pv/build.ts';
import { commandLine, countOf } from './command-line.ts';

const USAGE = `usage: node tools/run.mjs trace-guest IMAGE [options] -- COMMAND LINE
  --initrd FILE    ramdisk
  --memory MIB     memory of the domain (256)
  --output FILE    the log (standard output)
  --calls N        stop after N calls
  --ticks N        stop after N ticks (20_000_000_000)
  --console        the guest's console on standard error`;
const SLICE_TICKS = 50e6;
const MIB = 1 << 20;

const hex = (value: bigint | number): string => `0x${BigInt.asUintN(64, BigInt(value)).toString(16)}`;

function main(): number {
  const { values, positionals } = commandLine({
    allowPositionals: true,
    options: {
      initrd: { type: 'string' },
      memory: { type: 'string', default: '256' },
      output: { type: 'string' },
      calls: { type: 'string' },
      ticks: { type: 'string', default: '20_000_000_000' },
      console: { type: 'boolean', default: false },
    },
  });
  const [image, ...words] = positionals;
  if (image === undefined) throw new Error(USAGE);
  const memoryBytes = countOf(values.memory, '--memory', 1) * MIB;
  const lastTick = countOf(values.ticks, '--ticks');
  const lastCall = countOf(values.calls, '--calls');
  const file = values.output === undefined ? 1 : openSync(values.output, 'w');
  const lines: string[] = [];
  const flush = (): void => {
    if (lines.length > 0) writeSync(file, `${lines.join('\n')}\n`);
    lines.length = 0;
  };
  let calls = 0;
  const {
    machine,
    xen,
    console: terminal,
  } = buildPvMachine({
    platform: 'xen-pv',
    images: {
      kernel: readFileSync(image),
      ...(values.initrd === undefined ? {} : { initrd: readFileSync(values.initrd) }),
    },
    commandLine: words.join(' '),
    memoryBytes: memoryBytes,
    vcpus: 1,
    cpuPolicy: 'x86-64-v1',
    tscKhz: DEFAULT_TSC_KHZ,
    epochSeconds: DEFAULT_EPOCH_SECONDS,
  });
  xen.stream.on('log', ({ line }) => console.error(line));
  xen.stream.on('hypercall', ({ way, vcpu, rip, op, args, ret }) => {
    calls++;
    // What has no result here set the registers itself (iret, not compared) or ended the run, which real Xen answers by 0.
    lines.push(JSON.stringify({ kind: way, vcpu, rip: hex(rip), op, args: args.map(hex), ret: hex(ret ?? 0) }));
  });
  if (values.console) terminal.onOutput = (bytes) => process.stderr.write(bytes);
  let end = machine.runTo(Math.min(lastTick, SLICE_TICKS));
  while (end.kind === 'limit' && machine.tick < lastTick && calls < lastCall) {
    flush();
    end = machine.runTo(Math.min(lastTick, machine.tick + SLICE_TICKS));
  }
  flush();
  if (file !== 1) closeSync(file);
  const how = end.kind === 'stop' ? `${end.stop.verdict.kind}: ${end.stop.verdict.message}` : end.kind;
  console.error(`${calls} hypercalls in ${machine.tick} ticks; ${how}`);
  return 0;
}

try {
  process.exitCode = main();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 2;
}
