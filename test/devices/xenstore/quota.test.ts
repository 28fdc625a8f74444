// Limits and errors: quota_* and their checks in tools/xenstore/xenstored_{core,domain,transaction,watch}.c of Xen 4.17.0.
import { describe, expect, test } from 'vitest';
import { encode } from '../../../src/core/schema.ts';
import { xenStoreState } from '../../../src/devices/xenstore/xenstore.ts';
import { Frontend } from './frontend.ts';

const READ = 2;
const WATCH = 4;
const START = 6;
const END = 7;
const WRITE = 11;
const MKDIR = 12;
const RM = 13;
const SET_PERMS = 14;
const HOME = '/local/domain/1';
/** Nodes the toolstack made for the domain: those it owns (libxl_create.c). */
const OWNED = 11;

const start = (guest: Frontend): number => Number(guest.ask(START, '\0').replace('\0', ''));
const stateBytes = (guest: Frontend): number => encode(xenStoreState, guest.store.state).length;
const has = (guest: Frontend, path: string): boolean => guest.store.state.nodes.has(`${HOME}/${path}`);
/** Makes `count` nodes of few bytes in the parent's size: 100 a directory. */
function fill(guest: Frontend, count: number, transaction = 0): string {
  let made = 0;
  for (let directory = 0; ; directory++)
    for (let i = -1; i < 100; i++) {
      if (made++ === count) return 'OK\0';
      const answer = guest.ask(MKDIR, `data/${directory}${i < 0 ? '' : `/${i}`}\0`, transaction);
      if (answer !== 'OK\0') return `${made - 1} ${answer}`;
    }
}

describe('[D-50] nodes', () => {
  test('a domain owns 1000, and what it cannot have leaves nothing behind', () => {
    const guest = new Frontend();
    expect(fill(guest, 1000 - OWNED - 2)).toBe('OK\0');
    expect(guest.ask(WRITE, 'attr/a/b/c\0value')).toBe('!ENOSPC');
    expect(has(guest, 'attr/a')).toBe(false);
    expect(guest.ask(WRITE, 'attr/a/b\0value')).toBe('OK\0');
    expect(guest.ask(WRITE, 'attr/c\0value')).toBe('!ENOSPC');
    expect(guest.ask(MKDIR, 'attr/c\0')).toBe('!ENOSPC');
    // what is there may be written
    expect(guest.ask(WRITE, 'attr/a/b\0other')).toBe('OK\0');
    expect(guest.ask(RM, 'attr/a\0')).toBe('OK\0');
    expect(guest.ask(WRITE, 'attr/c\0value')).toBe('OK\0');
  });
  test('a transaction is told at its end that there are too many', () => {
    const guest = new Frontend();
    fill(guest, 1000 - OWNED - 5);
    const id = start(guest);
    for (let i = 0; i < 10; i++) expect(guest.ask(WRITE, `attr/${i}\0`, id)).toBe('OK\0');
    expect(guest.ask(END, 'T\0', id)).toBe('!ENOSPC');
    expect(has(guest, 'attr/0')).toBe(false);
    const small = start(guest);
    for (let i = 0; i < 4; i++) guest.ask(WRITE, `attr/${i}\0`, small);
    expect(guest.ask(END, 'T\0', small)).toBe('OK\0');
  });
  test('header, permissions, value and names of children stay below 2048 bytes', () => {
    const guest = new Frontend();
    // 24 bytes of header, one permission of 8
    expect(guest.ask(WRITE, `data/x\0${'v'.repeat(2015)}`)).toBe('OK\0');
    expect(guest.ask(WRITE, `data/x\0${'v'.repeat(2016)}`)).toBe('!ENOSPC');
    expect(guest.ask(WRITE, `data/y\0${'v'.repeat(2016)}`)).toBe('!ENOSPC');
    expect(has(guest, 'data/y')).toBe(false);
    expect(guest.ask(SET_PERMS, 'data/x\0n1\0r0\0')).toBe('!ENOSPC');
    guest.ask(WRITE, `data/x\0${'v'.repeat(2007)}`);
    expect(guest.ask(SET_PERMS, 'data/x\0n1\0r0\0')).toBe('OK\0');
    // a child takes its name and a zero: 32 + 20 * 100 + 15 of 2048
    for (let i = 0; i < 20; i++) expect(guest.ask(MKDIR, `attr/${String(i).padStart(99, 'n')}\0`)).toBe('OK\0');
    expect(guest.ask(MKDIR, 'attr/fifteen_letters\0')).toBe('!ENOSPC');
    expect(guest.ask(MKDIR, 'attr/fourteen_chars\0')).toBe('OK\0');
  });
});

describe('[D-50] watches and transactions', () => {
  test('there are 129 watches, a limit of 128 compared by `>`', () => {
    const guest = new Frontend();
    for (let i = 0; i < 129; i++) expect(guest.ask(WATCH, `data\0${i}\0`)).toBe('OK\0');
    expect(guest.ask(WATCH, 'data\0more\0')).toBe('!E2BIG');
    expect(guest.ask(WATCH, 'data\x005\0')).toBe('!EEXIST');
  });
  test('a transaction looks at 1024 nodes; then it has failed', () => {
    const guest = new Frontend();
    const id = start(guest);
    // each read touches the node and the parent that says ENOENT
    for (let i = 0; i < 1023; i++) expect(guest.ask(READ, `data/${i}\0`, id)).toBe('!ENOENT');
    expect(guest.ask(READ, 'data/more\0', id)).toBe('!ENOSPC');
    expect(guest.ask(READ, 'data/5\0', id)).toBe('!ENOENT');
    expect(guest.ask(END, 'T\0', id)).toBe('!ENOMEM');
    expect(guest.ask(END, 'T\0', id)).toBe('!ENOENT');
    const other = start(guest);
    expect(guest.ask(READ, 'data/more\0', other)).toBe('!ENOENT');
  });
  test('a transaction that met a size has failed', () => {
    const guest = new Frontend();
    const id = start(guest);
    guest.ask(WRITE, 'data/a\0value', id);
    expect(guest.ask(WRITE, `data/b\0${'v'.repeat(3000)}`, id)).toBe('!ENOSPC');
    expect(guest.ask(END, 'T\0', id)).toBe('!ENOMEM');
    expect(has(guest, 'data/a')).toBe(false);
  });
});

describe('[D-50] memory: 2.5 MiB a domain', () => {
  const LIMIT = 2.5 * 2 ** 20;
  test('nodes of transactions count; a write beyond is EIO', () => {
    const guest = new Frontend();
    const value = 'v'.repeat(2000);
    let refused: string | null = null;
    let written = 0;
    for (let t = 0; t < 11 && refused === null; t++) {
      const id = start(guest);
      for (let i = 0; i < 480 && refused === null; i++) {
        const answer = guest.ask(WRITE, `data/${i % 8}/${i}\0${value}`, id);
        if (answer === 'OK\0') written += 2032;
        else refused = answer;
      }
    }
    expect(refused).toBe('!EIO');
    expect(written).toBeLessThan(LIMIT);
    expect(written).toBeGreaterThan(LIMIT * 0.95);
    // the state has a copy of the tree for each transaction
    expect(stateBytes(guest)).toBeLessThan(2 * LIMIT);
  });
  test('events that nobody takes are dropped beyond it, and requests wait', () => {
    const guest = new Frontend();
    fill(guest, 170);
    for (let i = 0; i < 129; i++) guest.ask(WATCH, `data\0${'t'.repeat(1000)}${i}\0`);
    const id = start(guest);
    for (let i = 0; i < 150; i++) guest.ask(WRITE, `data/${Math.floor(i / 100)}/${i % 100}\0`, id);
    // 150 nodes changed, 129 watches on each
    guest.push(Frontend.message(END, 'T\0', 77, id));
    guest.store.service();
    expect(guest.store.state.output.length).toBeGreaterThan(1000);
    const waiting = guest.store.state.output.reduce((sum, m) => sum + m.bytes.length, 0);
    expect(waiting).toBeLessThan(LIMIT);
    expect(stateBytes(guest)).toBeLessThan(1.2 * LIMIT);
    guest.push(Frontend.message(WRITE, 'attr/late\0', 78, 0));
    guest.store.service();
    expect(has(guest, 'attr/late')).toBe(false);
    while (guest.store.state.output.length > 0) {
      guest.messages();
      guest.store.service();
    }
    guest.messages();
    guest.store.service();
    expect(has(guest, 'attr/late')).toBe(true);
  });
  test('an event waits once, also after the state has been put back', () => {
    const guest = new Frontend();
    guest.ask(WATCH, 'data\0t\0');
    const waiting = (): number => guest.store.state.output.filter((m) => m.event).length;
    for (let i = 0; i < 3; i++) guest.store.write('data', `x${i}`);
    guest.pull();
    // fill the ring, so that what comes now waits
    for (let i = 0; i < 40; i++) guest.store.write(`data/${'p'.repeat(30)}${i}`, '');
    const before = waiting();
    expect(before).toBeGreaterThan(5);
    for (let i = 20; i < 40; i++) guest.store.write(`data/${'p'.repeat(30)}${i}`, 'again');
    expect(waiting()).toBeLessThanOrEqual(before + 20);
    const now = waiting();
    guest.store.state = structuredClone(guest.store.state);
    for (let i = 25; i < 40; i++) guest.store.write(`data/${'p'.repeat(30)}${i}`, 'once more');
    expect(waiting()).toBe(now);
  });
});
