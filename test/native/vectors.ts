/**
 * Pinned vectors: cases and what silicon did with them, in files small enough for the repository.
 *
 * File (zstd): a line of JSON ({@link VectorHeader}), then `count` pairs of records as oracle.h defines them, all case records
 * first. An outcome is stored XORed with what would hold if the instruction changed nothing but RIP, which leaves mostly zeros.
 */
import { constants as zlib, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import {
  CASE_OFFSETS,
  CASE_SIZE,
  CaseRecord,
  CODE_BASE,
  FX,
  MODE_64,
  OUTCOME_OFFSETS,
  OUTCOME_SIZE,
  OutcomeRecord,
  VECTOR_NONE,
} from './records.ts';
import type { Template } from './templates.ts';

/** First line of a vector file. */
export interface VectorHeader {
  format: 'silicon vectors 1';
  mode: number;
  /** The CPU that ran them (signatureText); the files of today have a model name: it was an AMD of family 1Ah. */
  cpu: string;
  count: number;
  /** Name of each case's form, in order of `tag`. */
  forms: string[];
}

/** A decoded vector file; `tag` of a case indexes `header.forms`. */
export interface Vectors {
  header: VectorHeader;
  cases: CaseRecord;
  outcomes: OutcomeRecord;
}

const MEMORY_SEED = 1n;
const RF_OR_ALWAYS = 0x202;

/** Gives everything the instruction does not name a constant value, so that the vectors compress. */
export function quieten(template: Template, record: CaseRecord): void {
  const { view, base } = record;
  const keep = new Set([...template.gprs, 4]);
  for (let i = 0; i < (template.form.mode === MODE_64 ? 16 : 8); i++) {
    const pattern = BigInt(0x0101_0101 * (i + 1));
    if (!keep.has(i)) record.setGpr(i, template.form.mode === MODE_64 ? (pattern << 32n) | pattern : pattern);
  }
  view.setBigUint64(base + CASE_OFFSETS.memory_seed, MEMORY_SEED, true);
  const reads = template.memory.find((use) => use.reads);
  const pokes = record.poke.length;
  if (!template.string && reads !== undefined && reads.size > 0 && reads.size < pokes) {
    record.bytes.fill(0, base + CASE_OFFSETS.poke + reads.size, base + CASE_OFFSETS.poke + pokes);
    record.bytes[base + CASE_OFFSETS.poke_length] = reads.size;
  }
  if (!template.fp) return;
  const top = (record.fxsave[FX.fsw + 1]! >> 3) & 7;
  const st = new Set([...template.st, ...template.mm.map((mm) => (mm - top) & 7)]);
  for (let i = 0; i < 8; i++)
    if (!st.has(i)) {
      const at = FX.st + 16 * i;
      record.fxsave.fill(i + 1, at, at + 8);
      record.fxsave.fill(0x3f, at + 8, at + 10);
      record.fxsave[at + 7]! |= 0x80;
    }
  for (let i = 0; i < 16; i++)
    if (!template.xmm.includes(i)) record.fxsave.fill(0x10 + i, FX.xmm + 16 * i, FX.xmm + 16 * i + 16);
}

/** XORs `outcome` with the case's own state: its own inverse. */
function fold(record: CaseRecord, outcome: OutcomeRecord): void {
  const xor = (at: number, value: bigint): void => {
    const place = outcome.base + at;
    outcome.view.setBigUint64(place, outcome.view.getBigUint64(place, true) ^ value, true);
  };
  for (let i = 0; i < 16; i++) xor(i * 8, record.gpr(i));
  xor(OUTCOME_OFFSETS.rip, BigInt(CODE_BASE + record.codeOffset + record.code.length));
  xor(OUTCOME_OFFSETS.rflags, BigInt(record.rflags | RF_OR_ALWAYS));
  outcome.bytes[outcome.base + OUTCOME_OFFSETS.vector]! ^= VECTOR_NONE;
  if (!record.flags) return;
  for (let at = 0; at < 416; at++) outcome.fxsave[at]! ^= record.fxsave[at]!;
}

/** The file's bytes. */
export function encodeVectors(vectors: Vectors): Uint8Array {
  const { header, cases, outcomes } = vectors;
  const folded = new OutcomeRecord(outcomes.bytes.slice());
  for (let i = 0; i < header.count; i++) fold(cases.at(i), folded.at(i));
  const line = new TextEncoder().encode(`${JSON.stringify(header)}\n`);
  return zstdCompressSync(Buffer.concat([line, cases.bytes, folded.bytes]), {
    params: { [zlib.ZSTD_c_compressionLevel]: 19, [zlib.ZSTD_c_enableLongDistanceMatching]: 1 },
  });
}

/** Reads what {@link encodeVectors} wrote. */
export function decodeVectors(file: Uint8Array): Vectors {
  const bytes = new Uint8Array(zstdDecompressSync(file));
  const end = bytes.indexOf(10);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end))) as VectorHeader;
  const start = end + 1;
  const middle = start + header.count * CASE_SIZE;
  if (header.format !== 'silicon vectors 1' || bytes.length !== middle + header.count * OUTCOME_SIZE)
    throw new Error('not a file of silicon vectors');
  const cases = new CaseRecord(bytes.slice(start, middle));
  const outcomes = new OutcomeRecord(bytes.slice(middle));
  for (let i = 0; i < header.count; i++) fold(cases.at(i), outcomes.at(i));
  return { header, cases, outcomes };
}
