/**
 * The messages of proto/recording.proto as typed values. The file is read at start: the specification is the code.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import protobuf from 'protobufjs';
import { plain } from './sealed.ts';

export interface HeaderMessage {
  formatVersion: number;
  semanticsVersion: number;
  toolVersion: string;
  createdMs: number;
  memoryBytes: number;
  vcpus: number;
  cpuPolicy: string;
  nsPerTick: number;
  tscKhz: number;
  commandLine: string;
  seed: Uint8Array;
  epochSeconds: number;
  settings: Record<string, string>;
  blobs: Array<{ name: string; bytes: number; sha256: Uint8Array }>;
}
export interface JournalBlockMessage {
  sequence: number;
  firstTick: number;
  lastTick: number;
  tickDeltas: number[];
  kinds: Uint8Array;
  details: number[];
  texts: string[];
  payload: Uint8Array;
  digestTickDeltas: number[];
  digests: Uint8Array;
  stateHash: Uint8Array;
  previous: Uint8Array;
}
export interface SnapshotMessage {
  sequence: number;
  tick: number;
  stateHash: Uint8Array;
  base: number;
  slotDeltas: number[];
  pageDeltas: number[];
  storedBytes: number;
}
export interface SectionsMessage {
  sections: Array<{ name: string; bytes: Uint8Array }>;
}
export interface EndMessage {
  tick: number;
  stateHash: Uint8Array;
  verdict: string;
  message: string;
  placeTick: number;
  placeVcpu: number;
  placeRip: Uint8Array;
}

/** Writes and reads one message type. Reading throws on anything malformed. */
export interface Codec<T> {
  encode(value: T): Uint8Array;
  decode(bytes: Uint8Array): T;
}

const { root } = protobuf.parse(readFileSync(join(import.meta.dirname, '../proto/recording.proto'), 'utf8'));

function codec<T extends object>(name: string): Codec<T> {
  const type = root.lookupType(`hindsight.${name}`);
  return {
    encode: (value) => plain(type.encode(type.fromObject(value)).finish()),
    // 64-bit values become numbers: none exceeds 2^53.
    decode: (bytes) => type.toObject(type.decode(bytes), { longs: Number, defaults: true, arrays: true }) as T,
  };
}

export const headerCodec = codec<HeaderMessage>('Header');
export const journalBlockCodec = codec<JournalBlockMessage>('JournalBlock');
export const snapshotCodec = codec<SnapshotMessage>('Snapshot');
export const sectionsCodec = codec<SectionsMessage>('Sections');
export const endCodec = codec<EndMessage>('End');

/** An unsigned number as `count` bytes, little-endian, and back. */
export function bytesOfBig(value: bigint, count: number): Uint8Array {
  const out = new Uint8Array(count);
  for (let i = 0; i < count; i++) out[i] = Number((value >> BigInt(8 * i)) & 255n);
  return out;
}
export function bigOfBytes(bytes: Uint8Array): bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
  return value;
}
