/** Looks into the TLB as regions make them: a comparison and an addition where the page is there, else a slow path. */
import { TLB_ENTRIES, TLB_ENTRY_BYTES } from '../../memory/layout.ts';
import { TLB_ENTRY } from '../../memory/tlb.ts';
import { pushDataEntry } from '../tlb-entry.ts';
import { type Frame, PARAM } from './frame.ts';

/** What is looked for. */
export interface Look {
  readonly bytes: number;
  readonly write: boolean;
  /** The slow path and its operand: they give the host address, or 0 with a fault in the state. */
  readonly slow: number;
  readonly spec: number;
}

const tagOf = (write: boolean): number => (write ? TLB_ENTRY.write : TLB_ENTRY.read);

/** Asks the slow path, whose other operands are on the stack, and pushes the host address; `leave` writes what a fault leads to. */
function askSlow(f: Frame, host: number, { slow, spec }: Look, leave: () => void): void {
  f.i32(spec).call(slow).tee(host).op('i32.eqz').if();
  leave();
  f.end();
  f.get(host);
}

/** Looks the linear address in a local up; leaves the host address in a new local and returns that. */
export function lookUp(f: Frame, address: number, look: Look, leave: () => void): number {
  const host = f.local('i32');
  const entry = f.local('i32');
  pushDataEntry(f, address);
  f.get(f.tlb).op('i32.add').tee(entry).memory('i64.load', tagOf(look.write));
  f.get(address);
  if (look.bytes > 1) f.i64(BigInt(look.bytes - 1)).op('i64.add');
  f.i64(-4096n).op('i64.and').op('i64.ne').seldom().if('i32');
  f.get(PARAM.cpu).get(address);
  askSlow(f, host, look, leave);
  f.else();
  f.get(address).op('i32.wrap_i64').get(entry).memory('i32.load', TLB_ENTRY.addend).op('i32.add');
  f.end().set(host);
  f.release(entry);
  return host;
}

/** Like {@link lookUp} at bytes of one page whose address is constant: where their entry is, is known. */
export function lookUpConstant(f: Frame, address: bigint, look: Look, leave: () => void): number {
  const host = f.local('i32');
  const entry = Number((address >> 12n) & BigInt(TLB_ENTRIES - 1)) * TLB_ENTRY_BYTES;
  f.get(f.tlb).memory('i64.load', entry + tagOf(look.write));
  f.i64(address & ~4095n)
    .op('i64.ne')
    .seldom()
    .if('i32');
  f.get(PARAM.cpu).i64(address);
  askSlow(f, host, look, leave);
  f.else();
  f.get(f.tlb).memory('i32.load', entry + TLB_ENTRY.addend);
  f.i32(Number(BigInt.asIntN(32, address))).op('i32.add');
  f.end().set(host);
  return host;
}
