import { describe, expect, it } from 'vitest';
import { type MachineEvent, type Names, parsePredicate, type Scope } from '../../src/inspect/expression.ts';
import type { Look, Question } from '../../src/machine/explanation.ts';
import { errorOf } from '../support/error.ts';

/** A machine with one vCPU, some memory, page-table entries, ports and symbols. */
class World implements Scope {
  registers: Record<string, bigint> = { rax: 0n, rbx: 0n, rsp: 0x8000n, rip: 0x1000n };
  others: Record<string, bigint>[] = [{ rsp: 0x8000n }, { rsp: 0x9000n }];
  memory = new Map<string, bigint>();
  entries = new Map<bigint, bigint>();
  types = new Map<bigint, string>();
  pendingPorts = new Set<number>();
  maskedPorts = new Set<number>();
  consoleText = '';
  event: MachineEvent | null = null;

  register(name: string, vcpu: number | null): bigint | null {
    return (vcpu === null ? this.registers[name] : this.others[vcpu]?.[name]) ?? null;
  }
  read(space: 'va' | 'pa' | 'ma', address: bigint, bytes: number): bigint | null {
    return this.memory.get(`${space}:${address}:${bytes}`) ?? null;
  }
  pte = (address: bigint): bigint | null => this.entries.get(address) ?? null;
  ask = (question: Question, of: bigint): bigint | boolean | string | null => question.ask(of, this as unknown as Look);
}

const asked = (
  limit: bigint,
  answers: Question['answers'],
  ask: (world: World, of: bigint) => boolean | string | null,
): Question => ({
  limit,
  answers,
  ask: (of, look) => ask(look as unknown as World, of),
});
const QUESTIONS: Readonly<Record<string, Question>> = {
  type: asked(
    1n << 40n,
    ['none', 'l1', 'l2', 'l3', 'l4', 'segdesc', 'shared', 'writable'],
    (w, frame) => w.types.get(frame) ?? null,
  ),
  pending: asked(4096n, 1n, (w, port) => w.pendingPorts.has(Number(port))),
  masked: asked(4096n, 1n, (w, port) => w.maskedPorts.has(Number(port))),
};

/** Symbols, events and functions of that machine. */
const NAMES: Names = {
  vcpus: 2,
  symbol: (name) =>
    ({
      panic: { address: 0x2000n, size: 0x100n },
      flag: { address: 0x3000n, size: 8n },
      'probe.constprop.0': { address: 0x4000n, size: 0x10n },
      '.Lloop': { address: 0x5000n, size: 0x10n },
      edge: { address: 0xffffffff80001000n, size: 0x10n },
    })[name] ?? null,
  eventFields: (name) => (['pin', 'mmu_update'].includes(name) ? ['mfn', 'result'] : null),
  question: (name) => QUESTIONS[name] ?? null,
};
const parse = (source: string): ReturnType<typeof parsePredicate> => parsePredicate(source, NAMES);

const holds = (source: string, change: (world: World) => void = () => {}): boolean => {
  const world = new World();
  change(world);
  return parse(source).holds(world);
};

describe('predicates on registers', () => {
  it.each([
    ['rax == 0', true],
    ['rax != 0', false],
    ['rsp == 0x8000', true],
    ['rsp > 0x7fff && rsp <= 32768', true],
    ['rax == 1 || rsp == 0x8000', true],
    ['!(rax == 0)', false],
    ['rsp - 0x7ff8 == 8', true],
    ['(rsp & 0xf000) >> 12 == 8', true],
    ['rsp * 2 == 0x10000', true],
    ['(rsp | 1) % 2 == 1', true],
    ['(rsp ^ rsp) == rax', true],
    ['1 << 15 == rsp', true],
    ['rsp / 0x1000 == 8', true],
    ['rax', false],
    ['rsp', true],
    ['rsp << 64 == 0', true],
    ['rsp >> 64 == 0', true],
    ['rsp << 100000000000 == rax', true],
  ])('%s is %s', (source, value) => {
    expect(holds(source)).toBe(value);
  });

  it('compare negative numbers modulo 2^64, as registers hold them', () => {
    expect(holds('rax == -22', (w) => (w.registers.rax = 0xffffffffffffffean))).toBe(true);
    expect(holds('rax == -21', (w) => (w.registers.rax = 0xffffffffffffffean))).toBe(false);
  });

  it('know numbers beyond 2^53 exactly', () => {
    const set = (w: World): bigint => (w.registers.rax = 0xffffffff80100045n);
    expect(holds('rax == 0xffffffff80100045', set)).toBe(true);
    expect(holds('rax == 0xffffffff80100046', set)).toBe(false);
    expect(holds('rax >= 0xffffffff80100045 && rax < 0xffffffff80100046', set)).toBe(true);
  });

  it('reach another vCPU by cpu[n]', () => {
    expect(holds('cpu[1].rsp == 0x9000')).toBe(true);
    expect(holds('cpu[0].rsp == 0x9000')).toBe(false);
  });

  it('dividing by zero makes the whole false', () => {
    expect(holds('1 / rax == 0')).toBe(false);
    expect(holds('!(1 / rax == 0)')).toBe(false);
  });
});

describe('predicates on code', () => {
  it('`rip in` holds inside the function, from its first byte to its last', () => {
    for (const [rip, value] of [
      [0x1fffn, false],
      [0x2000n, true],
      [0x20ffn, true],
      [0x2100n, false],
    ] as const)
      expect(holds('rip in panic', (w) => (w.registers.rip = rip))).toBe(value);
  });

  it('call() holds at the first byte alone', () => {
    expect(holds('call(panic)', (w) => (w.registers.rip = 0x2000n))).toBe(true);
    expect(holds('call(panic)', (w) => (w.registers.rip = 0x2001n))).toBe(false);
  });

  it('may stand in parentheses, as breaks of the debug prompt do', () => {
    expect(holds('(call(panic))', (w) => (w.registers.rip = 0x2000n))).toBe(true);
    expect(holds('(call(panic)) || (rax == flag)')).toBe(false);
  });

  it('a symbol stands for its address', () => {
    expect(holds('rbx == flag', (w) => (w.registers.rbx = 0x3000n))).toBe(true);
    expect(holds('rbx == flag + 8', (w) => (w.registers.rbx = 0x3008n))).toBe(true);
  });
});

describe('a location where a condition is asked for', () => {
  it.each([
    ['panic', 0x2000n],
    ['panic+0xd', 0x200dn],
    ['panic - 2', 0x1ffen],
    ['0xffffffff801000da', 0xffffffff801000dan],
    ['(panic + 0xd)', 0x200dn],
    ['panic+0xd && rax == 0', 0x200dn],
    ['panic || flag+1', 0x3001n],
    ['call(panic + 0xd)', 0x200dn],
    ['call(0x2004)', 0x2004n],
    ['rip == panic+0xd', 0x200dn],
    ['probe.constprop.0', 0x4000n],
    ['probe.constprop.0+4 && rbx == 0', 0x4004n],
    ['rip in probe.constprop.0', 0x4008n],
    ['.Lloop', 0x5000n],
    ['edge + 0x10', 0xffffffff80001010n],
  ])('%s holds where RIP is, and nowhere else', (source, rip) => {
    const at = (value: bigint) => holds(source, (w) => (w.registers.rip = value));
    expect([at(rip), at(rip + 0x100n), at(0x1000n)]).toEqual([true, false, false]);
  });
  it('is looked at there alone', () => {
    for (const source of [
      'panic+0xd',
      'panic+0xd && rdi == 0',
      'rip == 0x200d && rdi == 0 && u64[rsp] == 1',
      'call(panic+0xd)',
    ])
      expect([source, parse(source).dependencies]).toMatchObject([
        source,
        { places: [{ address: 0x200dn, bytes: 1n }], everyStep: false },
      ]);
    expect(parse('panic && rdi == 0 || flag').dependencies).toMatchObject({
      places: [{ address: 0x2000n }, { address: 0x3000n }],
      everyStep: false,
    });
    for (const source of ['!panic', 'panic || rdi == 0', '!(panic && rdi == 0)', 'rip > panic', 'panic == (rax == 0)'])
      expect([source, parse(source).dependencies.everyStep]).toEqual([source, true]);
  });
});

describe('what is the same at every tick', () => {
  it.each([
    '1',
    '0',
    'true',
    '"text"',
    '-1',
    '~0',
    '!panic == 7 || 3',
    'flag == 0',
    'flag * 2',
    '1 == 1',
    '0x8000000000000000',
    'rax == 0 && 1',
    '5 || rax == 0',
    '!5',
    'count(1) == 2',
    'prev(5)',
    'panic - panic',
  ])('%s is refused when it is entered', (source) => {
    expect(errorOf(() => parse(source))).toMatch(/^E_EXPRESSION: .* is the same at every tick/);
  });
  it.each([
    ['rax == rax', 'rax is compared with itself'],
    ['u64[ rsp+8 ] != u64[rsp + 8]', 'u64[ rsp+8 ] is compared with itself'],
    ['cpu[0].rsp >= cpu[0].rsp && rax == 0', 'cpu[0].rsp is compared with itself'],
    ['rax < 0', 'rax is a number of 0 to 0xffffffffffffffff'],
    ['rax >= 0', 'rax is a number of'],
    ['al < 256', 'al is a number of 0 to 0xff'],
    ['eax <= 0xffffffff', 'eax is a number of'],
    ['cpl < 4', 'cpl is a number of 0 to 0x3'],
    ['0 > u32[pa:0x1000]', 'u32[pa:0x1000] is a number of 0 to 0xffffffff'],
    ['u8[flag] == 0x100', 'u8[flag] is a number of 0 to 0xff'],
    ['u8[flag] != -1', 'u8[flag] is a number of'],
    ['pending(3) == 5', 'pending(3) is a number of 0 to 0x1'],
    ['pte(0x5000).w == 2', 'pte(0x5000).w is a number of 0 to 0x1'],
    ['console ~ ""', '"" is found in every text'],
    ['console ~ "a*|b"', '"a*|b" is found in every text'],
    ['type(5) == "banana"', 'type(5) is never "banana"; it is one of none, l1, l2, l3, l4, segdesc, shared, writable'],
    ['"l5" != type(rax)', 'type(rax) is never "l5"'],
  ])('%s is refused when it is entered, and why is told', (source, why) => {
    const error = errorOf(() => parse(source));
    expect(error).toMatch(/^E_EXPRESSION: /);
    expect(error).toContain(why);
  });
  it.each([
    ['pending(-1)', 'pending() takes a number of 0 to 4095'],
    ['masked(4096)', 'masked() takes a number of 0 to 4095'],
    ['pending(1 / 0)', 'pending() takes a number'],
    ['type(-1) == "l1"', 'type() takes a number of 0 to 1099511627775'],
    ['type(5)', 'type(5) is a text: compare it with one of none, l1'],
    ['!type(5)', 'type(5) is a text'],
    ['type(5) == 5', 'type(5) and 5 are a number and a text'],
    ['rax == "5"', 'rax and "5" are a number and a text'],
    ['type(5) < "l2"', '< compares numbers'],
    ['console + 1 == 2', '+ needs a number'],
    ['rax == 0 && cpu[7].rax == 0', 'cpu[] takes a number of 0 to 1'],
    ['rax == 0 && eip == 0', 'eip is neither a register nor a symbol'],
  ])('%s, which means nothing, is refused when it is entered', (source, why) => {
    const error = errorOf(() => parse(source));
    expect(error).toMatch(/^E_EXPRESSION: /);
    expect(error).toContain(why);
  });
  it('is not what may change', () => {
    for (const source of [
      'rax >= 1',
      'rax == -22',
      'u8[flag] <= 0xfe',
      'pin.result < 0',
      'rax - rbx < 0',
      'console ~ "^$"',
      'console',
      'console == "x"',
      'type(rax) != type(rbx)',
      'prev(type(5)) != type(5)',
      'pending(4095)',
    ])
      expect(parse(source).source).toBe(source);
  });
  it('a number out of range, as it comes to be, makes the whole predicate false', () => {
    const set = (w: World): unknown => w.pendingPorts.add(3);
    expect([holds('pending(rax + 3)', set), holds('pending(rax - 1)', set), holds('!pending(rsp)', set)]).toEqual([
      true,
      false,
      false,
    ]);
  });
  it('an unknown name is refused when it is entered', () => {
    for (const source of [
      'nosuch',
      'nosuch+4',
      'call(nosuch)',
      'rip in nosuch',
      'rax == nosuch',
      'u64[nosuch] == 1',
      'no.such',
    ])
      expect(errorOf(() => parse(source))).toMatch(/^E_EXPRESSION: .*(nosuch|no) /);
    expect(errorOf(() => parse('pinn.result == 0'))).toMatch(/there is no event pinn/);
    expect(errorOf(() => parse('pin.reslt == 0'))).toMatch(/pin has no reslt; it has mfn, result/);
    expect(errorOf(() => parse('cpu[0].foo == 0'))).toMatch(/foo is not a register/);
  });
});

describe('predicates on memory', () => {
  it.each([
    ['u64[rsp + 8] == 5', 'va:32776:8'],
    ['u32[flag] == 5', 'va:12288:4'],
    ['u16[0x10] == 5', 'va:16:2'],
    ['u8[va:0x10] == 5', 'va:16:1'],
    ['u32[pa:0x1000] == 5', 'pa:4096:4'],
    ['u64[ma:0x1000 + 8] == 5', 'ma:4104:8'],
    ['u64[ u64[rsp + 8] ] == 5', null],
  ])('%s', (source, place) => {
    const change = (world: World): void => {
      if (place !== null) world.memory.set(place, 5n);
      else {
        world.memory.set('va:32776:8', 0x77n);
        world.memory.set('va:119:8', 5n);
      }
    };
    expect(holds(source, change)).toBe(true);
    expect(holds(source.replace('== 5', '== 6'), change)).toBe(false);
  });

  it('that is not mapped makes the whole predicate false, also negated', () => {
    expect(holds('u64[0xdead] == 0')).toBe(false);
    expect(holds('u64[0xdead] != 0')).toBe(false);
    expect(holds('!(u64[0xdead] == 0)')).toBe(false);
    expect(holds('rax == 0 && u64[0xdead] == 0')).toBe(false);
    expect(holds('u64[0xdead] == 0 || rax == 0')).toBe(true);
  });
});

describe('predicates on the hypervisor', () => {
  it('pte() gives the entry and its bits by the names of the manual', () => {
    const map = (w: World): unknown => w.entries.set(0x5000n, 0x8000000012345067n);
    for (const [source, value] of [
      ['pte(0x5000).p', true],
      ['pte(0x5000).w', true],
      ['pte(0x5000).u', true],
      ['pte(0x5000).pwt', false],
      ['pte(0x5000).a', true],
      ['pte(0x5000).d', true],
      ['pte(0x5000).g', false],
      ['pte(0x5000).nx', true],
      ['pte(0x5000).mfn == 0x12345', true],
      ['pte(0x5000) == 0x8000000012345067', true],
      ['pte(0x6000).p == 0', false],
    ] as const)
      expect([source, holds(source, map)]).toEqual([source, value]);
  });

  it('type() gives the type Xen holds', () => {
    const set = (w: World): unknown => w.types.set(0x621n, 'segdesc');
    expect(holds('type(0x621) == "segdesc"', set)).toBe(true);
    expect(holds("type(0x621) != 'writable'", set)).toBe(true);
    expect(holds('type(0x622) == "segdesc"', set)).toBe(false);
  });

  it('pending() and masked() look at an event channel', () => {
    expect(holds('pending(3) && !masked(3)', (w) => w.pendingPorts.add(3))).toBe(true);
    expect(holds('pending(3) && masked(3)', (w) => w.pendingPorts.add(3))).toBe(false);
    expect(holds('masked(4)', (w) => w.maskedPorts.add(4))).toBe(true);
  });

  it('an event holds while it has just happened, with its fields', () => {
    const pin = (w: World): unknown => (w.event = { name: 'pin', fields: { result: -22n, mfn: 0x621n } });
    expect(holds('pin.result == -22', pin)).toBe(true);
    expect(holds('pin.result == -22 && pin.mfn == 0x621', pin)).toBe(true);
    expect(holds('pin.result == 0', pin)).toBe(false);
    expect(holds('mmu_update.result == -22', pin)).toBe(false);
    expect(holds('pin.result == -22')).toBe(false);
  });
});

describe('predicates on the console', () => {
  it('console ~ searches everything printed so far', () => {
    const print = (w: World): unknown => (w.consoleText = 'hello\nKernel panic - not syncing: no root\n');
    expect(holds('console ~ "panic"', print)).toBe(true);
    expect(holds('console ~ "Kernel panic.*root$"', print)).toBe(true);
    expect(holds("console~'^hello$'", print)).toBe(true);
    expect(holds('console ~ "oops"', print)).toBe(false);
    expect(holds('!(console ~ "oops")', print)).toBe(true);
    expect(holds('console ~ "a ~ b: [c]"', (w) => (w.consoleText = 'a ~ b: c'))).toBe(true);
    expect(holds('console ~ "pa: 5"', (w) => (w.consoleText = 'pa: 5'))).toBe(true);
  });
});

describe('predicates that remember', () => {
  it('prev() is the value of the evaluation before, and makes the first one false', () => {
    const predicate = parse('prev(rax) != rax');
    const world = new World();
    const seen = [0n, 0n, 5n, 5n, 6n].map((rax) => {
      world.registers.rax = rax;
      return predicate.holds(world);
    });
    expect(seen).toEqual([false, false, true, false, true]);
  });

  it('count() counts how often an expression became true', () => {
    const predicate = parse('count(call(panic)) == 2');
    const world = new World();
    const seen = [0x1000n, 0x2000n, 0x2000n, 0x2005n, 0x2000n, 0x2005n].map((rip) => {
      world.registers.rip = rip;
      return predicate.holds(world);
    });
    expect(seen).toEqual([false, false, false, false, true, true]);
  });

  it('keeps its memory to itself: two predicates of one text do not disturb each other', () => {
    const [a, b] = [parse('prev(rax) != rax'), parse('prev(rax) != rax')];
    const world = new World();
    a.holds(world);
    world.registers.rax = 1n;
    expect(a.holds(world)).toBe(true);
    expect(b.holds(world)).toBe(false);
  });
});

describe('what a predicate depends on', () => {
  it('tells a search that only the console matters', () => {
    expect(parse('console ~ "x"').dependencies).toMatchObject({
      console: true,
      events: [],
      memory: false,
      everyStep: false,
    });
  });
  it('tells events, memory, registers and places', () => {
    expect(parse('pin.result == -22').dependencies).toMatchObject({ events: ['pin'], console: false });
    expect(parse('u64[0x10] == 1').dependencies).toMatchObject({ memory: true, everyStep: false });
    expect(parse('rax == 1').dependencies).toMatchObject({ everyStep: true });
    expect(parse('call(panic)').dependencies.places).toEqual([{ address: 0x2000n, bytes: 1n }]);
    expect(parse('rip in panic').dependencies.places).toEqual([{ address: 0x2000n, bytes: 0x100n }]);
  });
});

describe('malformed predicates', () => {
  it.each([
    'rax ==',
    '== 5',
    'rax == 0)',
    '(rax == 0',
    'rax == 0 rbx',
    '',
    'console ~ panic',
    'console ~ "("',
    'rax = 5',
    'rax == 1.5',
    'foo(1)',
    'u64[1, 2]',
    'u64[xx:5]',
    'call("panic")',
    'call(panic, 1)',
    'pte(0x5000).zz',
    'pte(0x5000).constructor',
    'pte(0x5000).__proto__ == 1',
    'constructor[5] == 1',
    '2 ** 3 == rax',
    'rip in 5',
    'x => x',
    'new Date()',
    'rax ?? 1',
    'process.exit(1)',
    '`x`',
  ])('%j is E_EXPRESSION', (source) => {
    expect(errorOf(() => parse(source).holds(new World()))).toMatch(/^E_EXPRESSION: cannot understand/);
  });

  it('a name that is neither register nor symbol is told', () => {
    expect(errorOf(() => holds('nonsense == 1'))).toMatch(/^E_EXPRESSION: .*nonsense/);
    expect(errorOf(() => holds('rip in nonsense'))).toMatch(/^E_EXPRESSION: .*nonsense/);
    expect(errorOf(() => holds('call(nonsense)'))).toMatch(/^E_EXPRESSION: .*nonsense/);
  });
});
