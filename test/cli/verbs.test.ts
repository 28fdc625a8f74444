import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EmulatorError } from '../../src/core/errors.ts';
import type { RunEvent } from '../../src/inspect/investigate.ts';
import { LevelStore } from '../../store/level-store.ts';
import { blobs, HEADER } from '../store/torture-child.ts';
import { Bench, VERDICT } from './fake-backend.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.remove());

// The shapes and statuses are those of the issue that specifies the verbs.
describe('--json', () => {
  it('record prints its shape alone on stdout; the console goes to stderr', async () => {
    const { out, err, json } = await bench.run(['record', bench.image, '--json', '--', 'a', 'b=c']);
    expect(Object.keys(json())).toEqual([
      'recording',
      'ticks',
      'vcpus',
      'verdict',
      'journalBytes',
      'snapshotBytes',
      'snapshots',
      'stateHash',
      'unmatchedRules',
      'seconds',
      'cpuSeconds',
    ]);
    expect(json().verdict).toEqual({
      kind: 'crash',
      tick: 900,
      vcpu: 0,
      rip: '0xffffffff80100228',
      symbol: 'panic+0xa0',
      message: VERDICT.message,
    });
    expect(json().stateHash).toBe('0xabcd');
    expect(out.trim().split('\n')).toHaveLength(1);
    expect(err).toContain('hello from the guest');
    expect(err).toContain('(XEN) Domain 1 crashed');
    expect(bench.backend.recorded?.commandLine).toBe('a b=c');
  });

  it.each([
    ['replay', ['recording', 'ticks', 'verified', 'stateHash', 'seconds', 'cpuSeconds']],
    ['goto 5', ['tick', 'vcpu', 'rip', 'symbol', 'instruction', 'registers', 'stateHash']],
    [
      'bisect --when rax==1',
      ['tick', 'vcpu', 'rip', 'symbol', 'instruction', 'bytes', 'caller', 'backtrace', 'probes'],
    ],
    ['why', ['verdict', 'chain', 'instruction', 'operand', 'lastWriter', 'caller', 'backtrace']],
  ])('%s has the fields %j', async (command, fields) => {
    const { json, status } = await bench.run([...command.split(' '), '--json']);
    expect(status).toBe(0);
    for (const field of fields) expect(json()).toHaveProperty(field);
  });

  it('why writes 64-bit values as 0x strings, ticks as numbers and absent things as null', async () => {
    const why = (await bench.run(['why', '--json'])).json();
    expect(why.operand).toBeNull();
    expect(why.lastWriter).toEqual({
      tick: 300,
      rip: '0xffffffff80100228',
      symbol: 'map_image+0x5b',
      instruction: 'mov [rcx*8+new_l1], rax',
      value: '0x10e067',
    });
    expect(why.chain).toEqual([
      { what: 'crash: it crashed', tick: 900, rip: '0xffffffff80100228', symbol: 'panic+0xa0' },
    ]);
    expect(why.backtrace).toEqual([{ rip: '0xffffffff80100228', symbol: null }]);
  });

  it.each(['events', 'info', 'ls', 'verify', 'rm one', 'debug'])('%s prints one value', async (verb) => {
    const { out, json } = await bench.run([...verb.split(' '), '--json'], 'regs\nquit\n');
    expect(json()).toBeTypeOf('object');
    expect(out.trim().split('\n')).toHaveLength(1);
  });

  it('an error is one value too, beside the line on stderr', async () => {
    const { status, json, err } = await bench.run(['replay', 'nothing', '--json']);
    expect(status).toBe(2);
    expect(json()).toMatchObject({ error: { code: 'E_NOT_FOUND' } });
    expect(err).toMatch(/^E_NOT_FOUND: /);
    const usage = await bench.run(['bisect', '--json']);
    expect(usage.status).toBe(2);
    expect(usage.json()).toMatchObject({ error: { code: 'E_USAGE' } });
  });
  it('help and version are JSON too', async () => {
    for (const argv of [
      ['--version', '--json'],
      ['--json', '-V'],
    ])
      expect((await bench.run(argv)).json()).toEqual({ version: '0.1.0' });
    const { status, json } = await bench.run(['replay', '--json', '--help']);
    expect(status).toBe(0);
    expect(json()).toEqual({ help: expect.stringMatching(/^Usage: hindsight replay/) });
  });
});

describe('the exit status', () => {
  it.each([
    ['poweroff', 0],
    ['reboot', 0],
    ['panic', 3],
    ['crash', 3],
    ['triple-fault', 3],
    ['hang', 3],
    ['unimplemented', 3],
    ['limit', 3],
    ['stopped', 3],
  ] as const)('of a record that ends with %s is %d', async (kind, status) => {
    bench.backend.verdict = { ...VERDICT, kind };
    expect((await bench.run(['record', bench.image])).status).toBe(status);
  });

  it('is 4 for a replay that differs, with the tick', async () => {
    bench.backend.replayed = { verified: false, divergence: { from: 500, tick: 512, message: 'the state differs' } };
    const { status, out } = await bench.run(['replay']);
    expect(status).toBe(4);
    expect(out).toContain('between the ticks 500 and 512');
  });

  it('is 0 for a counterfactual replay, which says so and is not verified', async () => {
    bench.backend.replayed = { verified: false, counterfactual: true };
    const { status, out } = await bench.run(['replay']);
    expect(status).toBe(0);
    expect(out).toContain('counterfactual');
    expect(out).not.toContain('verified');
  });

  it('is 7 when a predicate is never true', async () => {
    bench.backend.bisected = { tick: null, vcpu: null, rip: null, symbol: null, instruction: null, bytes: null };
    const { status, json } = await bench.run(['bisect', '--when', 'rax == 77', '--json']);
    expect(status).toBe(7);
    expect(json()).toMatchObject({ tick: null, probes: 42 });
  });

  it.each([
    ['E_RECORDING', 2],
    ['E_SEMANTICS', 2],
    ['E_EXPRESSION', 2],
    ['E_PLATFORM', 2],
    ['E_IMAGE', 2],
    ['E_MEMORY', 2],
    ['E_TICK', 2],
    ['E_HOST', 5],
  ] as const)('of %s is %d, and the line has no stack', async (code, status) => {
    bench.backend.failure = new EmulatorError(code, 'block 3 is damaged');
    for (const verb of ['replay', 'info']) {
      const outcome = await bench.run([verb]);
      expect(outcome.status).toBe(status);
      expect(outcome.err).toBe(`${code}: block 3 is damaged\n`);
      expect(outcome.out).toBe('');
    }
  });

  it('is 5 for a full disk and 4 for a divergence that was thrown', async () => {
    bench.backend.failure = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    expect((await bench.run(['record', bench.image])).status).toBe(5);
    bench.backend.failure = Object.assign(new Error('the recording has timer at tick 5'), { name: 'Divergence' });
    expect((await bench.run(['replay'])).status).toBe(4);
  });

  it('is 1 for our own bug, with a hint and without a stack', async () => {
    bench.backend.failure = new TypeError('x is not a function');
    const { status, err } = await bench.run(['why']);
    expect(status).toBe(1);
    expect(err).toMatch(/^E_BUG: TypeError: x is not a function\nThis is a mistake of Hindsight/);
    expect(err).not.toMatch(/ at /);
  });

  it.each([
    [['record']],
    [['frobnicate']],
    [['replay', '--wrong']],
    [['bisect']],
    [['goto']],
    [['goto', 'x']],
    [['goto', '1', '2', '3']],
    [['record', 'missing.elf']],
    [['record', '.']],
    [['record', 'kernel.elf', '--memory', 'much']],
    [['record', 'kernel.elf', '--type', 'no arrow']],
    [['record', 'kernel.elf', '--cpu', 'x86-64-v3']],
    [['replay', 'one', 'two']],
    [[]],
  ])('of %j is 2', async (args) => {
    const located = args.map((a) => (a === 'kernel.elf' ? bench.image : a));
    const { status, err } = await bench.run(located);
    expect(status).toBe(2);
    expect(err).not.toBe('');
  });

  it('of help and version is 0', async () => {
    const help = await bench.run(['--help']);
    expect(help.status).toBe(0);
    for (const verb of ['record', 'replay', 'goto', 'bisect', 'why', 'debug', 'events', 'ls', 'info', 'verify', 'rm'])
      expect(help.out).toContain(`  ${verb} `);
    expect((await bench.run(['--version'])).out).toBe('0.1.0\n');
  });
});

describe('record', () => {
  it('passes what the command line says', async () => {
    writeFileSync(bench.path('initrd.gz'), 'x');
    const args = [
      '--memory',
      '64M',
      '--vcpus',
      '1',
      '--cpu',
      'x86-64-v2',
      '-o',
      'out.hs',
      '--idle-limit',
      '5s',
      '--limit-time',
      '2m',
    ];
    await bench.run([
      ...['record', bench.image, '--initrd', bench.path('initrd.gz'), ...args, '--limit-ticks', '1_000'],
      ...['--', 'console=hvc0', '--json'],
    ]);
    expect(bench.backend.recorded).toEqual({
      image: bench.image,
      initrd: bench.path('initrd.gz'),
      commandLine: 'console=hvc0 --json',
      memoryBytes: 64 * 2 ** 20,
      vcpus: 1,
      cpuPolicy: 'x86-64-v2',
      directory: 'out.hs',
      numbered: false,
      idleLimitSeconds: 5,
      limitSeconds: 120,
      limitTicks: 1000,
    });
  });

  it('has the defaults of the issue', async () => {
    await bench.run(['record', bench.image]);
    expect(bench.backend.recorded).toMatchObject({
      memoryBytes: 256 * 2 ** 20,
      vcpus: 1,
      cpuPolicy: 'x86-64-v1',
      idleLimitSeconds: 30,
      limitSeconds: null,
      limitTicks: null,
      directory: '.hindsight/kernel-20260102-030405.hs',
      numbered: true,
    });
  });

  it('--no-store records nothing', async () => {
    const { json } = await bench.run(['record', bench.image, '--no-store', '--json']);
    expect(bench.backend.recorded?.directory).toBeNull();
    expect(json()).toMatchObject({ recording: null, stateHash: null });
  });

  it('never writes over what is there', async () => {
    const { status, err } = await bench.run(['record', bench.image, '-o', '.hindsight/one.hs']);
    expect(status).toBe(2);
    expect(err).toMatch(/^E_USAGE: .*exists already/);
    mkdirSync(bench.path('empty.hs'));
    expect((await bench.run(['record', bench.image, '-o', 'empty.hs'])).status).toBe(3);
  });

  it('types by rules and from a file', async () => {
    writeFileSync(bench.path('keys'), 'one\ntwo');
    const typed: string[] = [];
    bench.backend.guest = ({ console, input }) => {
      const read = (waiting: boolean): number => typed.push(Buffer.from(input.take(waiting)).toString());
      read(true);
      console(new TextEncoder().encode('login: '));
      read(false);
      read(true);
      read(true);
    };
    await bench.run(['record', bench.image, '--input', bench.path('keys'), '--type', 'login: $=>root\\n']);
    expect(typed).toEqual(['one\n', 'root\n', 'two', '']);
  });
});

describe('a rule of --type that never matched', () => {
  const rules = ['--type', 'the guest$=>known\\n', '--type', 'login: $=>root\\n'];

  it('is told at the end, and the others are not', async () => {
    const json = (await bench.run(['record', bench.image, ...rules, '--json'])).json();
    expect(json.unmatchedRules).toEqual(['login: $=>root\\n']);
    const { out } = await bench.run(['record', bench.image, ...rules]);
    expect(out).toMatch(/^--type 'login: \$=>root\\n' never matched: nothing was typed$/m);
    expect(out).not.toContain('known');
    expect((await bench.run(['record', bench.image, '--json'])).json().unmatchedRules).toEqual([]);
  });
});

describe('the recording meant', () => {
  it('is the latest one made, wherever it lies', async () => {
    await bench.run(['record', bench.image, '-o', 'elsewhere.hs']);
    bench.recording('elsewhere.hs');
    expect((await bench.run(['info', '--json'])).json().recording).toBe('elsewhere.hs');
  });
  it('is the latest one also where its recorder has failed', async () => {
    bench.backend.guest = () => {
      bench.recording('killed.hs');
      throw new Error('killed');
    };
    await bench.run(['record', bench.image, '-o', 'killed']);
    expect((await bench.run(['info', '--json'])).json().recording).toBe('killed.hs');
  });

  it('has to be named where it cannot be remembered, and is made all the same', async () => {
    rmSync(bench.path('.hindsight'), { recursive: true });
    writeFileSync(bench.path('.hindsight'), '');
    const { status, out, err } = await bench.run(['record', bench.image, '-o', 'named']);
    expect(status).toBe(3);
    expect(out + err).toContain('.hindsight/latest cannot be written: EEXIST; name the recording: named.hs');
  });

  it('is named by path or by its name in the folder', async () => {
    for (const name of ['one', 'one.hs', '.hindsight/one', '.hindsight/one.hs', bench.path('.hindsight/one.hs')])
      expect((await bench.run(['info', name, '--json'])).json().recording).toBe('.hindsight/one.hs');
  });

  it('has the suffix .hs whether -o has it or not', async () => {
    await bench.run(['record', bench.image, '-o', 'named']);
    expect(bench.backend.recorded?.directory).toBe('named.hs');
    await bench.run(['record', bench.image, '-o', 'folder/named.hs']);
    expect(bench.backend.recorded?.directory).toBe('folder/named.hs');
  });

  it('is told to be missing when there is none', async () => {
    bench.remove();
    mkdirSync(bench.folder);
    const { status, err } = await bench.run(['replay']);
    expect(status).toBe(2);
    expect(err).toMatch(/^E_NOT_FOUND: there is no recording yet/);
  });

  it('is closed again, also when the work fails', async () => {
    await bench.run(['why']);
    await bench.run(['goto', '5000']);
    expect(bench.backend.opened).toBe(2);
    expect(bench.backend.closed).toBe(2);
  });
});

describe('goto', () => {
  it.each([
    [['goto', '5'], 5],
    [['goto', 'one', '7'], 7],
    [['goto', '7', 'one'], 7],
    [['goto', 'end'], 1000],
    [['goto', 'end-100'], 900],
    [['goto', 'start'], 0],
    [['goto', '50%'], 500],
    [['goto', '1_000'], 1000],
  ])('%j', async (args, tick) => {
    expect((await bench.run(args)).status).toBe(0);
    expect(bench.backend.lastGoto).toBe(tick);
  });

  it('outside the recording is E_TICK', async () => {
    const { status, err } = await bench.run(['goto', '1001']);
    expect(status).toBe(2);
    expect(err).toMatch(/^E_TICK: tick 1001 is outside the recording, which has the ticks 0 to 1000/);
  });
});

describe('the other verbs', () => {
  it('bisect passes predicate, range and --monotone', async () => {
    await bench.run(['bisect', 'one', '--when', 'rax == 1', '--monotone', '--from', '10', '--to', 'end-1']);
    expect(bench.backend.lastBisect).toEqual({ when: 'rax == 1', monotone: true, from: 10, to: 999 });
  });

  it('events shows results and lines, and passes the filter', async () => {
    const { out } = await bench.run(['events', '--only', 'pin', '--only', 'log', '--from', '3']);
    expect(out).toMatch(/10 +map_image\+0x5b +pin +mfn=0x621 = -22/);
    expect(out).toContain('(XEN) mm.c Bad type');
    expect(bench.backend.lastFilter).toEqual({ names: ['pin', 'log'], from: 3, to: null });
  });

  it('events are printed as they come, never more than the reader takes', async () => {
    const line = (tick: number): RunEvent => ({
      ...{ tick, vcpu: 0, rip: 0n, kind: 'log', name: 'log', fields: {} },
      text: 'x'.repeat(100),
    });
    bench.backend.eventBatches = Array.from({ length: 300 }, (_, i) => Array.from({ length: 100 }, () => line(i)));
    const { out } = await bench.run(['events']);
    expect(out.split('\n').length).toBe(30_001);
    const json = await bench.run(['events', '--json']);
    expect((json.json() as { events: unknown[] }).events).toHaveLength(30_000);
    // nobody reads: after what fits between the two, no more are asked for
    bench.backend.eventsAsked = 0;
    const stuck = bench.stuck(['events', '--json']);
    await expect.poll(() => bench.backend.eventsAsked).toBeGreaterThan(0);
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(bench.backend.eventsAsked).toBeLessThan(30);
    stuck.read();
    await stuck.end;
    expect(bench.backend.eventsAsked).toBe(300);
  });

  it('events that fail half-way are one JSON value that says so', async () => {
    bench.backend.eventFailure = new EmulatorError('E_RECORDING', 'block 7 is damaged');
    const { status, json } = await bench.run(['events', '--json']);
    expect(status).toBe(2);
    expect(json()).toMatchObject({
      events: [{ name: 'pin' }, {}],
      error: { code: 'E_RECORDING', message: 'block 7 is damaged' },
    });
    bench.backend.eventBatches = [];
    const none = await bench.run(['events', '--json']);
    expect(none.json()).toEqual({ error: { code: 'E_RECORDING', message: 'block 7 is damaged' } });
    bench.backend.eventFailure = null;
    expect((await bench.run(['events'])).out).toBe('no such event\n');
    expect((await bench.run(['events', '--json'])).json()).toMatchObject({ events: [] });
  });

  it('verify tells each damaged place and ends with 2', async () => {
    expect((await bench.run(['verify'])).status).toBe(0);
    bench.backend.findings = [{ place: 'journal block 3', problem: 'checksum differs' }];
    const { status, out } = await bench.run(['verify']);
    expect(status).toBe(2);
    expect(out).toContain('journal block 3: checksum differs');
  });
});

describe('info of a recording without an end', () => {
  it('tells one that is being made from one whose recorder was killed', async () => {
    bench.backend.unfinished = true;
    const recording = await new LevelStore(bench.path('.hindsight')).create('live', HEADER, blobs());
    expect((await bench.run(['info', 'live'])).out).toMatch(/verdict +none yet: it is being recorded/);
    await recording.close();
    expect((await bench.run(['info', 'live'])).out).toMatch(/verdict +none: the recorder did not finish/);
  });
});

describe('debug', () => {
  it('obeys commands from a pipe', async () => {
    const commands = ['step 3', 'back', 'goto end-1', 'regs', 'mem rsp 4', 'dis 2', 'bt', 'console', 'until rax == 9'];
    const { status, out } = await bench.run(['debug'], [...commands, 'quit', 'step'].join('\n'));
    expect(status).toBe(0);
    const ticks = [...out.matchAll(/^(\d+) {2}map_image/gm)].map((m) => m[1]);
    expect(ticks).toEqual(['500', '503', '502', '999', '700']);
    expect(out).toContain('0000000000008000  68 69 00 ff');
    expect(out).toMatch(/=> +map_image\+0x5b +syscall\n +map_image\+0x5d +nop/);
    expect(out).toContain('line 2');
  });

  it('stops at breaks and watches, forwards and backwards', async () => {
    const { json } = await bench.run(
      ['debug', '--json'],
      'break panic\nbreak rax == 5\nwatch rsp+8 4\ncontinue\nrcontinue\ndelete 1\nbreak nosuch\nbreak\n',
    );
    const exchanges = json() as unknown as { command: string; output: string[] }[];
    expect(exchanges.at(2)?.output).toEqual(['1  panic', '2  rax == 5', '3  writes of 4 bytes at 0x8008']);
    expect(exchanges.at(3)?.output[0]).toMatch(/^700 /);
    expect(exchanges.at(3)?.output.slice(1)).toEqual(['1  panic, vCPU 0', '2  rax == 5']);
    expect(exchanges.at(4)?.output[0]).toMatch(/^200 /);
    expect(exchanges.at(5)?.output).toHaveLength(2);
    expect(exchanges.at(6)).toMatchObject({ output: [], error: { code: 'E_EXPRESSION' } });
    expect(exchanges.at(7)?.output).toHaveLength(2);
  });

  it('survives a wrong command; a script learns of it by the status', async () => {
    const { status, out, err } = await bench.run(['debug'], 'frob\nmem\nuntil (rax ==)\ngoto 5000\ncontinue\nhash\n');
    expect(status).toBe(2);
    expect(err).toMatch(/E_USAGE: frob/);
    expect(err).toMatch(/E_TICK/);
    expect(err).toMatch(/E_EXPRESSION/);
    expect(out).toContain('0xabcd');
  });
});
