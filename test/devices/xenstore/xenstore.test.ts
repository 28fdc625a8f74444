// Expected values: docs/misc/xenstore.txt, docs/misc/xenstore-ring.txt, public/io/xs_wire.h, tools/xenstored.
import { describe, expect, it } from 'vitest';
import { decode, encode } from '../../../src/core/schema.ts';
import { xenStoreState } from '../../../src/devices/xenstore/xenstore.ts';
import { Frontend, PORT } from './frontend.ts';

const DIRECTORY = 1;
const READ = 2;
const GET_PERMS = 3;
const WATCH = 4;
const UNWATCH = 5;
const START = 6;
const END = 7;
const WRITE = 11;
const MKDIR = 12;
const RM = 13;
const SET_PERMS = 14;
const uuid = '12345678-9abc-4def-8123-456789abcdef';
const HOME = '/local/domain/1';

const described = (firstIndex = 0): Frontend => {
  const guest = new Frontend(firstIndex);
  guest.store.describe({
    name: 'debian',
    uuid,
    memoryKib: 262144,
    vcpus: 2,
    commandLine: 'console=hvc0',
    console: { frame: 9, port: 2 },
  });
  return guest;
};
const list = (guest: Frontend, path: string): string[] => guest.ask(DIRECTORY, `${path}\0`).split('\0').slice(0, -1);
const start = (guest: Frontend): number => Number(guest.ask(START, '\0').replace('\0', ''));

describe('the nodes a domain without devices finds', () => {
  it('[D-50] answers reads by absolute and relative path', () => {
    const guest = described();
    for (const [path, value] of [
      ['domid', '1'],
      ['vm', `/vm/${uuid}`],
      ['name', 'debian'],
      ['memory/target', '262144'],
      ['memory/static-max', '262144'],
      ['cpu/0/availability', 'online'],
      ['cpu/1/availability', 'online'],
      ['console/ring-ref', '9'],
      ['console/port', '2'],
      ['console/limit', '1048576'],
      ['console/type', 'xenconsoled'],
      ['console/output', 'pty'],
      ['console/tty', ''],
      ['store/ring-ref', '7'],
      ['store/port', '1'],
      ['control/shutdown', ''],
      ['control/platform-feature-xs_reset_watches', '1'],
    ] as const) {
      expect(guest.ask(READ, `${path}\0`), path).toBe(value);
      expect(guest.ask(READ, `${HOME}/${path}\0`), path).toBe(value);
    }
    expect(guest.ask(READ, `/vm/${uuid}/name\0`)).toBe('debian');
    expect(list(guest, 'device')).toEqual(['suspend']);
  });

  it('[D-50] [D-51] the device directory of a kernel that probes has no vbd, vif or console', () => {
    const guest = described();
    for (const path of ['device/vbd', 'device/vif', 'device/console', 'memory/nothing'])
      expect(guest.ask(DIRECTORY, `${path}\0`), path).toBe('!ENOENT');
    expect(guest.ask(READ, 'device/vbd/768/state\0')).toBe('!ENOENT');
  });

  it('[D-50] [X-07] directories come in order of creation', () => {
    const guest = described();
    expect(list(guest, HOME)).toEqual(
      'vm name cpu memory device control data drivers feature attr error domid store console'.split(' '),
    );
    for (const name of ['zebra', 'ant', 'mole']) guest.ask(WRITE, `data/${name}\0x`);
    expect(list(guest, 'data')).toEqual(['zebra', 'ant', 'mole']);
    guest.ask(RM, 'data/ant\0');
    guest.ask(WRITE, 'data/ant\0again');
    expect(list(guest, 'data')).toEqual(['zebra', 'mole', 'ant']);
  });
});

describe('permissions as a domU sees them', () => {
  it('[D-50] writes only below its own nodes', () => {
    const guest = described();
    for (const path of ['data/a/b', 'control/feature-poweroff', 'attr/os', 'error/device', 'drivers/0', 'feature/x'])
      expect(guest.ask(WRITE, `${path}\x001`), path).toBe('OK\0');
    for (const path of [
      'name',
      'memory/target',
      'memory/new',
      'device/new',
      'new',
      '/new',
      '/local/domain/0/x',
      '/vm/x',
    ])
      expect(guest.ask(WRITE, `${path}\x001`), path).toBe('!EACCES');
    expect(guest.ask(READ, '/local/domain/0/name\0')).toBe('!EACCES');
    expect(guest.ask(READ, '/tool/none\0')).toBe('!EACCES');
    expect(guest.ask(RM, 'cpu\0')).toBe('!EACCES');
  });

  it('[D-50] GET_PERMS and SET_PERMS: the owner may share, not give away', () => {
    const guest = described();
    expect(guest.ask(GET_PERMS, 'data\0')).toBe('n1\0');
    expect(guest.ask(GET_PERMS, 'name\0')).toBe('n0\0r1\0');
    expect(guest.ask(SET_PERMS, 'data\0n1\0r0\0b7\0')).toBe('OK\0');
    expect(guest.ask(GET_PERMS, 'data\0')).toBe('n1\0r0\0b7\0');
    expect(guest.ask(SET_PERMS, 'data\0n0\0')).toBe('!EPERM');
    expect(guest.ask(SET_PERMS, 'name\0n0\0')).toBe('!EACCES');
    expect(guest.ask(SET_PERMS, 'data\0')).toBe('!EINVAL');
    expect(guest.ask(SET_PERMS, 'data\0q1\0')).toBe('!EINVAL');
    // New nodes inherit, with the maker as owner.
    guest.ask(WRITE, 'data/inner\0v');
    expect(guest.ask(GET_PERMS, 'data/inner\0')).toBe('n1\0r0\0b7\0');
  });

  it('[D-50] what belongs to domain 0 is refused', () => {
    const guest = described();
    for (const type of [0, 8, 9, 17, 18, 19, 24, 25, 26]) expect(guest.ask(type, '1\0'), `${type}`).toBe('!EACCES');
    for (const type of [15, 16, 20, 27, 0xffff]) expect(guest.ask(type, '1\0'), `${type}`).toBe('!ENOSYS');
    expect(guest.ask(10, '12\0')).toBe('/local/domain/12\0');
    expect(guest.ask(10, 'x\0')).toBe('!EINVAL');
    expect(guest.ask(23, '')).toBe(`${guest.word(0x810)}\0`);
  });
});

describe('paths and arguments', () => {
  it('[D-50] malformed requests are EINVAL', () => {
    const guest = described();
    const long = 'x'.repeat(2049);
    for (const payload of ['', 'data', 'da\0ta\0', 'a b\0', 'data/\0', 'a//b\0', '@releaseDomain\0', `${long}\0`, '\0'])
      expect(guest.ask(READ, payload), JSON.stringify(payload.slice(0, 20))).toBe('!EINVAL');
    expect(guest.ask(WRITE, 'data')).toBe('!EINVAL');
    expect(guest.ask(RM, '/\0')).toBe('!EACCES');
  });

  it('[D-50] WRITE keeps any bytes, MKDIR keeps a value, RM needs a parent', () => {
    const guest = described();
    guest.ask(WRITE, 'data/raw\0a\0b\xff');
    expect(guest.ask(READ, 'data/raw\0')).toBe('a\0b\xff');
    expect(guest.ask(MKDIR, 'data/raw\0')).toBe('OK\0');
    expect(guest.ask(READ, 'data/raw\0')).toBe('a\0b\xff');
    expect(guest.ask(MKDIR, 'data/x/y\0')).toBe('OK\0');
    expect(guest.ask(READ, 'data/x\0')).toBe('');
    expect(guest.ask(RM, 'data/none\0')).toBe('OK\0');
    expect(guest.ask(RM, 'data/none/deeper\0')).toBe('!ENOENT');
    expect(guest.ask(RM, 'data/x\0')).toBe('OK\0');
    expect(guest.ask(READ, 'data/x/y\0')).toBe('!ENOENT');
  });

  it('[D-50] a listing over 4096 bytes is E2BIG; DIRECTORY_PART gives it in parts', () => {
    const guest = described();
    // Domain 0 is not bound by the node size limit of 2048 bytes.
    const names = Array.from({ length: 30 }, (_, i) => `${String(i).padStart(2, '0')}${'n'.repeat(160)}`);
    for (const name of names) guest.store.write(`data/${name}`, '');
    expect(guest.ask(DIRECTORY, 'data\0')).toBe('!E2BIG');
    const got: string[] = [];
    for (let offset = 0, generation = ''; ; ) {
      const [first, ...part] = guest.ask(22, `data\0${offset}\0`).split('\0');
      if (generation !== '') expect(first).toBe(generation);
      generation = first!;
      part.pop();
      const last = part.at(-1) === '';
      if (last) part.pop();
      got.push(...part);
      offset += part.reduce((sum, name) => sum + name.length + 1, 0);
      if (last) break;
      expect(part.length).toBeGreaterThan(0);
    }
    expect(got).toEqual(names);
  });
});

describe('watches', () => {
  it('[D-50] fires once at registration, after its reply, and then for changes at and below', () => {
    const guest = described();
    const { all } = guest.exchange(WATCH, 'data\0tok\0');
    expect(all.map((m) => [m.type, m.text])).toEqual([
      [WATCH, 'OK\0'],
      [15, 'data\0tok\0'],
    ]);
    expect(all[1]).toMatchObject({ requestId: 0, transactionId: 0 });
    expect(guest.exchange(WRITE, 'data/a/b\x001').events).toEqual(['data/a/b\0tok\0']);
    expect(guest.exchange(WRITE, `${HOME}/data\x001`).events).toEqual(['data\0tok\0']);
    expect(guest.exchange(WRITE, 'attr/x\x001').events).toEqual([]);
    expect(guest.ask(WATCH, `${HOME}/data\0tok\0`)).toBe('!EEXIST');
    expect(guest.ask(UNWATCH, 'data\0other\0')).toBe('!ENOENT');
    expect(guest.ask(UNWATCH, 'data\0tok\0')).toBe('OK\0');
    expect(guest.exchange(WRITE, 'data/a/b\x002').events).toEqual([]);
  });

  it('[D-50] [X-07] fires in order of registration; absolute watches report absolute paths', () => {
    const guest = described();
    guest.ask(WATCH, `${HOME}/data\0second\0`);
    guest.ask(WATCH, 'data/x\0first\0');
    guest.ask(WATCH, '/\0root\0');
    expect(guest.exchange(WRITE, 'data/x\x001').events).toEqual([
      `${HOME}/data/x\0second\0`,
      'data/x\0first\0',
      `${HOME}/data/x\0root\0`,
    ]);
  });

  it('[D-50] removal tells watches of the removed nodes, children first, and of what stands above', () => {
    const guest = described();
    guest.ask(WRITE, 'data/p/q/r\x001');
    guest.ask(WATCH, 'data/p/q/r\0leaf\0');
    guest.ask(WATCH, 'data\0top\0');
    expect(guest.exchange(RM, 'data/p\0').events).toEqual(['data/p/q/r\0leaf\0', 'data/p\0top\0']);
  });

  it('[D-50] [D-51] the toolstack writes control/shutdown and the guest hears of it', () => {
    const guest = described();
    guest.ask(WATCH, 'control/shutdown\0sd\0');
    const before = guest.notifications;
    guest.store.write('control/shutdown', 'poweroff');
    expect(guest.notifications).toBe(before + 1);
    expect(guest.messages().map((m) => m.text)).toEqual(['control/shutdown\0sd\0']);
    expect(guest.ask(READ, 'control/shutdown\0')).toBe('poweroff');
  });

  it('[D-50] special watches register and fire once; unreadable nodes stay silent', () => {
    const guest = described();
    expect(guest.exchange(WATCH, '@introduceDomain\0i\0').events).toEqual(['@introduceDomain\0i\0']);
    expect(guest.exchange(WATCH, '@releaseDomain\0r\0').events).toEqual(['@releaseDomain\0r\0']);
    guest.ask(WATCH, '/local/domain/0\0zero\0');
    guest.store.write('/local/domain/0/secret', '1');
    expect(guest.messages()).toEqual([]);
    expect(guest.ask(21, '\0')).toBe('OK\0');
    expect(guest.store.state.watches).toEqual([]);
  });
});

describe('transactions', () => {
  it('[D-50] changes are seen inside, and outside only after the commit, when watches fire', () => {
    const guest = described();
    guest.ask(WATCH, 'data\0t\0');
    const id = start(guest);
    expect(guest.exchange(WRITE, 'data/k\0v', id).events).toEqual([]);
    expect(guest.ask(READ, 'data/k\0', id)).toBe('v');
    expect(guest.ask(READ, 'data/k\0')).toBe('!ENOENT');
    const end = guest.exchange(END, 'T\0', id);
    expect(end.reply).toMatchObject({ type: END, text: 'OK\0', transactionId: id });
    expect(end.events).toEqual(['data/k\0t\0']);
    expect(guest.ask(READ, 'data/k\0')).toBe('v');
    expect(guest.ask(READ, 'data/k\0', id)).toBe('!ENOENT');
  });

  it('[D-50] a change between, of what the transaction read, makes EAGAIN; other changes do not', () => {
    const guest = described();
    guest.ask(WRITE, 'data/a\x001');
    guest.ask(WRITE, 'attr/b\x001');
    const first = start(guest);
    expect(guest.ask(READ, 'data/a\0', first)).toBe('1');
    guest.ask(WRITE, 'data/a\x002');
    expect(guest.ask(READ, 'data/a\0', first)).toBe('1');
    guest.ask(WRITE, 'attr/c\x009', first);
    expect(guest.ask(END, 'T\0', first)).toBe('!EAGAIN');
    expect(guest.ask(READ, 'attr/c\0')).toBe('!ENOENT');

    const second = start(guest);
    expect(guest.ask(READ, 'data/a\0', second)).toBe('2');
    guest.ask(WRITE, 'data/other/deep\x001', second);
    guest.ask(WRITE, 'attr/b\x003');
    expect(guest.ask(END, 'T\0', second)).toBe('OK\0');
    expect(guest.ask(READ, 'attr/b\0')).toBe('3');
  });

  it('[D-50] abort, nesting, unknown ids and the limit', () => {
    const guest = described();
    const id = start(guest);
    guest.ask(WRITE, 'data/gone\x001', id);
    expect(guest.ask(START, '\0', id)).toBe('!EBUSY');
    expect(guest.ask(END, 'x\0', id)).toBe('!EINVAL');
    expect(guest.ask(END, 'F\0', id)).toBe('OK\0');
    expect(guest.ask(READ, 'data/gone\0')).toBe('!ENOENT');
    expect(guest.ask(END, 'T\0', id)).toBe('!ENOENT');
    expect(guest.ask(END, 'T\0')).toBe('!ENOENT');
    // the limit is 10, and compared with those there are by `>`
    for (let i = 0; i < 11; i++) expect(start(guest)).toBeGreaterThan(0);
    expect(guest.ask(START, '\0')).toBe('!ENOSPC');
  });

  it('[D-50] removal inside a transaction is undone by an abort and whole after a commit', () => {
    const guest = described();
    guest.ask(WRITE, 'data/d/e\x001');
    const aborted = start(guest);
    guest.ask(RM, 'data/d\0', aborted);
    expect(guest.ask(READ, 'data/d/e\0', aborted)).toBe('!ENOENT');
    guest.ask(END, 'F\0', aborted);
    expect(guest.ask(READ, 'data/d/e\0')).toBe('1');
    const committed = start(guest);
    guest.ask(RM, 'data/d\0', committed);
    guest.ask(END, 'T\0', committed);
    expect(guest.ask(READ, 'data/d/e\0')).toBe('!ENOENT');
    expect(list(guest, 'data')).toEqual([]);
  });
});

describe('the ring', () => {
  it('[D-50] messages wrap at any byte and indexes at 2^32', () => {
    const guest = described(0xffff_ff00);
    const value = 'v'.repeat(700);
    for (let i = 0; i < 40; i++) {
      expect(guest.ask(WRITE, `data/k\0${value}${i}`)).toBe('OK\0');
      expect(guest.ask(READ, 'data/k\0')).toBe(`${value}${i}`);
    }
    expect(guest.word(0x804)).toBeLessThan(0x8000_0000);
  });

  it('[D-50] a request may come byte by byte, and an answer larger than the ring goes in parts', () => {
    const guest = described();
    for (let i = 0; i < 10; i++) guest.store.write(`data/${'a'.repeat(200)}${i}`, '');
    for (const byte of Frontend.message(DIRECTORY, 'data\0', 99, 0)) {
      guest.push(Uint8Array.of(byte));
      guest.store.service();
    }
    expect((guest.word(0x80c) - guest.word(0x808)) >>> 0).toBe(1024);
    expect(guest.messages()).toEqual([]);
    guest.store.service();
    guest.pull();
    guest.store.service();
    const [reply] = guest.messages();
    expect(reply).toMatchObject({ type: DIRECTORY, requestId: 99 });
    expect(reply!.text.length).toBe(10 * 202);
  });

  it('[D-50] notifies when bytes move and not otherwise', () => {
    const guest = described();
    const before = guest.notifications;
    guest.store.service();
    expect(guest.notifications).toBe(before);
    guest.ask(READ, 'name\0');
    expect(guest.notifications).toBeGreaterThan(before);
    expect(guest.store.state.port).toBe(PORT);
  });

  it('[D-50] a payload over 4096 bytes or impossible indexes end the connection with an error word', () => {
    const tooLong = described();
    const header = Frontend.message(READ, '', 1, 0);
    new DataView(header.buffer).setUint32(12, 4097, true);
    tooLong.push(header);
    tooLong.store.service();
    expect(tooLong.word(0x818)).toBe(3);
    const wrong = described();
    wrong.setWord(0x804, 5000);
    wrong.store.service();
    expect(wrong.word(0x818)).toBe(2);
    // A reconnect (feature bit 0) makes it usable again.
    expect(wrong.word(0x810) & 1).toBe(1);
    wrong.setWord(0x814, 1);
    wrong.store.service();
    expect([0x814, 0x818, 0x800, 0x804, 0x808, 0x80c].map((at) => wrong.word(at))).toEqual([0, 0, 0, 0, 0, 0]);
    expect(wrong.ask(READ, 'domid\0')).toBe('1');
  });

  it('[D-50] takes no more requests while twenty answers wait', () => {
    const guest = described();
    const one = Frontend.message(READ, `/vm/${uuid}/image/cmdline\0`, 1, 0);
    let pushed = 0;
    for (let i = 0; i < 400; i++) {
      if (guest.push(one) < one.length) break;
      pushed++;
      guest.store.service();
    }
    expect(guest.store.state.output.length).toBeLessThanOrEqual(20);
    expect(pushed).toBeGreaterThan(50);
    expect(pushed).toBeLessThan(400);
  });
});

describe('state', () => {
  it('[D-50] [X-01] a daemon restored in the middle of everything goes on the same way', () => {
    const guest = described();
    guest.ask(WATCH, 'data\0w\0');
    const id = start(guest);
    guest.ask(WRITE, 'data/in\0tx', id);
    const half = Frontend.message(READ, 'name\0', 5, 0);
    guest.push(half.subarray(0, 18));
    guest.store.service();
    const saved = encode(xenStoreState, guest.store.state);
    guest.store.state = decode(xenStoreState, saved);
    expect(encode(xenStoreState, guest.store.state)).toEqual(saved);
    guest.push(half.subarray(18));
    guest.store.service();
    expect(guest.messages()).toMatchObject([{ requestId: 5, text: 'debian' }]);
    expect(guest.exchange(END, 'T\0', id).events).toEqual(['data/in\0w\0']);
  });
});
