import { describe, expect, it } from 'vitest';
import { addressOf, bytesText, Disassembler } from '../../src/inspect/disassembly.ts';
import { symbolText } from '../../src/inspect/symbol-text.ts';
import { SymbolTable } from '../../src/inspect/symbols.ts';

const symbols = SymbolTable.of(
  [
    { address: 0xffffffff80100014n, name: 'print', type: 'T' },
    { address: 0xffffffff80100045n, name: 'panic', type: 'T' },
    { address: 0xffffffff80103000n, name: 'new_l1', type: 'b' },
    { address: 0xffffffff8010f000n, name: 'p2m', type: 'b' },
  ],
  { start: 0xffffffff80100000n, end: 0xffffffff80110000n },
);
const disassembler = new Disassembler(symbols);
const code = (text: string): Uint8Array => Uint8Array.from(text.split(' '), (b) => Number.parseInt(b, 16));

// Encodings and meanings as GNU objdump 2.40 prints them for the failing boot.
describe('disassembly', () => {
  it.each([
    ['e8 b7 ff ff ff', 0xffffffff80100058n, 'call print'],
    ['77 cd', 0xffffffff801000c5n, 'ja panic+0x4f'],
    ['48 89 04 cd 00 30 10 80', 0xffffffff80100228n, 'mov [rcx*8+new_l1], rax'],
    ['48 8b 15 ab ee 00 00', 0xffffffff8010014en, 'mov rdx, [p2m]'],
    ['48 c7 c7 45 00 10 80', 0xffffffff80100051n, 'mov rdi, panic'],
    ['cc', 0xffffffff801000e5n, 'int3'],
  ])('writes %s with symbols', (bytes, rip, text) => {
    expect(disassembler.text(code(bytes), rip)).toBe(text);
  });

  it('leaves numbers alone that are no address of a symbol', () => {
    expect(disassembler.text(code('48 c7 c0 00 00 10 00'), 0x1000n)).toMatch(/^mov rax, (0x100000|1048576)$/);
  });

  it('says what bytes are when they are no instruction, and when there are none', () => {
    expect(disassembler.text(code('0f 04'), 0x1000n)).toBe('(bad) 0f 04');
    expect(disassembler.text(new Uint8Array(0), 0x1000n)).toBe('(not mapped)');
    expect(disassembler.decode(code('48 8b'), 0x1000n)).toBeNull();
  });

  it.each([
    ['c3', 'return'],
    ['eb fd', 'jump'],
    ['74 05', 'branch'],
    ['e8 b7 ff ff ff', 'call'],
    ['ff d0', 'indirect-call'],
    ['ff e0', 'jump'],
    ['90', 'next'],
    ['cc', 'trap'],
  ])('tells how control goes on after %s: %s', (bytes, flow) => {
    expect(disassembler.decode(code(bytes), 0xffffffff80100058n)?.flow).toBe(flow);
  });

  it('computes the address of a memory operand from base, index, scale, displacement and segment', () => {
    const registers: Record<string, bigint> = { rcx: 0x10en, rdi: 0x1000n, gs_base: 0xffff888000000000n };
    const at = (bytes: string): bigint | undefined => {
      const memory = disassembler.decode(code(bytes), 0xffffffff80100228n)?.memory[0];
      return memory && addressOf(memory, (name) => registers[name] ?? null);
    };
    expect(at('48 89 04 cd 00 30 10 80')).toBe(0xffffffff80103870n);
    expect(at('65 48 8b 04 25 28 00 00 00')).toBe(0xffff888000000028n);
    expect(at('8b 47 f8')).toBe(0xff8n);
  });

  it('tells loads from stores and names the registers an instruction uses', () => {
    const store = disassembler.decode(code('48 89 04 cd 00 30 10 80'), 0x1000n)!;
    expect(store.memory[0]).toMatchObject({ reads: false, writes: true, bytes: 8, base: null, index: 'rcx', scale: 8 });
    expect(store.registersRead.toSorted()).toEqual(['rax', 'rcx']);
    expect(store.registersWritten).toEqual([]);
    const exchange = disassembler.decode(code('f0 48 0f b1 17'), 0x1000n)!;
    expect(exchange.memory[0]).toMatchObject({ reads: true, writes: true, base: 'rdi' });
    const narrow = disassembler.decode(code('8b 47 f8'), 0x1000n)!;
    expect(narrow.registersWritten).toEqual(['rax']);
  });

  it('lists instructions one after the other', () => {
    const listing = [...disassembler.listing(code('55 53 48 83 ec 20 48 89 fd'), 0xffffffff80100045n)];
    expect(listing.map((i) => i.text)).toEqual(['push rbp', 'push rbx', 'sub rsp, 0x20', 'mov rbp, rdi']);
    expect(listing.map((i) => bytesText(i.bytes))).toEqual(['55', '53', '48 83 ec 20', '48 89 fd']);
  });

  it('names addresses as symbol plus offset, and nothing outside the table', () => {
    expect(symbolText(symbols, 0xffffffff80100045n)).toBe('panic');
    expect(symbolText(symbols, 0xffffffff801000e5n)).toBe('panic+0xa0');
    expect(symbolText(symbols, 0x1234n)).toBeNull();
  });
});
