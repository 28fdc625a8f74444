/**
 * The messages of proto/recording.proto as typed values. What a message consists of is written down here once more, as tables
 * for protobufjs' writer and reader: parsing the file and generating code from it took longer than all they are used for.
 */
import protobuf from 'protobufjs/minimal.js';
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
  blobs: Array<{ name: string; bytes: number }>;
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
  devices: number[];
}
type Column = 'tickDeltas' | 'details' | 'texts' | 'digestTickDeltas' | 'devices';
/** What the chain of blocks needs of a block. Columns are counted: `kinds` and `digests` say how many entries and digests it has. */
export type JournalHeadMessage = Omit<JournalBlockMessage, Column> & Record<Column, number>;
export interface SnapshotMessage {
  sequence: number;
  tick: number;
  stateHash: Uint8Array;
  base: number;
  slotDeltas: number[];
  pageDeltas: number[];
  storedBytes: number;
  runLengths: number[];
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

type Scalar = 'uint32' | 'uint64' | 'sint64' | 'double' | 'string' | 'bytes';
/** `count`: a list of which only the number of items is read, for packed ones that of stretches. */
type Rule = 'one' | 'list' | 'map' | 'count';
/** Number, type and rule of one field; a map is one of strings to strings. */
export interface Field {
  readonly id: number;
  readonly type: Scalar | Fields;
  readonly rule: Rule;
}
export type Fields = { readonly [name: string]: Field };

const one = (id: number, type: Scalar): Field => ({ id, type, rule: 'one' });
const list = (id: number, type: Scalar | Fields): Field => ({ id, type, rule: 'list' });

/** Wire types: https://protobuf.dev/programming-guides/encoding/. */
const WIRE = { uint32: 0, uint64: 0, sint64: 0, double: 1, string: 2, bytes: 2 } as const;
const DELIMITED = 2;
const MAP_ENTRY = { key: one(1, 'string'), value: one(2, 'string') };

const BLOB = { name: one(1, 'string'), bytes: one(2, 'uint64') };
const SECTION = { name: one(1, 'string'), bytes: one(2, 'bytes') };

/** The messages of proto/recording.proto, field by field; the test compares them. */
export const MESSAGES = {
  Header: {
    formatVersion: one(1, 'uint32'),
    semanticsVersion: one(2, 'uint32'),
    toolVersion: one(3, 'string'),
    createdMs: one(4, 'double'),
    memoryBytes: one(5, 'uint64'),
    vcpus: one(6, 'uint32'),
    cpuPolicy: one(7, 'string'),
    nsPerTick: one(8, 'double'),
    tscKhz: one(9, 'uint64'),
    commandLine: one(10, 'string'),
    seed: one(11, 'bytes'),
    epochSeconds: one(12, 'uint64'),
    settings: { id: 13, type: MAP_ENTRY, rule: 'map' },
    blobs: list(14, BLOB),
  },
  Blob: BLOB,
  JournalBlock: {
    sequence: one(1, 'uint32'),
    firstTick: one(2, 'uint64'),
    lastTick: one(3, 'uint64'),
    tickDeltas: list(4, 'uint64'),
    kinds: one(5, 'bytes'),
    details: list(6, 'uint64'),
    texts: list(7, 'string'),
    payload: one(8, 'bytes'),
    digestTickDeltas: list(9, 'uint64'),
    digests: one(10, 'bytes'),
    stateHash: one(11, 'bytes'),
    previous: one(12, 'bytes'),
    devices: list(13, 'uint64'),
  },
  Snapshot: {
    sequence: one(1, 'uint32'),
    tick: one(2, 'uint64'),
    stateHash: one(3, 'bytes'),
    base: one(4, 'uint32'),
    slotDeltas: list(5, 'uint64'),
    pageDeltas: list(6, 'sint64'),
    storedBytes: one(7, 'uint64'),
    runLengths: list(8, 'uint64'),
  },
  Sections: { sections: list(1, SECTION) },
  Section: SECTION,
  End: {
    tick: one(1, 'uint64'),
    stateHash: one(2, 'bytes'),
    verdict: one(3, 'string'),
    message: one(4, 'string'),
    placeTick: one(5, 'uint64'),
    placeVcpu: one(6, 'uint32'),
    placeRip: one(7, 'bytes'),
  },
} as const satisfies Record<string, Fields>;

type Content = Record<string, unknown>;
const isAbsent = (value: unknown): boolean => value === 0 || (value as ArrayLike<unknown>).length === 0;

function write(to: protobuf.Writer, fields: Fields, message: Content): void {
  for (const [name, { id, type, rule }] of Object.entries(fields)) {
    const tag = (wire: number): protobuf.Writer => to.uint32((id << 3) | wire);
    const content = message[name];
    if (typeof type !== 'string') {
      const items =
        rule === 'map' ? Object.entries(content as object).map(([key, value]) => ({ key, value })) : content;
      for (const item of items as Content[]) {
        tag(DELIMITED).fork();
        write(to, type, item);
        to.ldelim();
      }
      continue;
    }
    const put = to[type] as (value: unknown) => protobuf.Writer;
    if (isAbsent(content)) continue;
    if (rule === 'list' && WIRE[type] !== DELIMITED) {
      tag(DELIMITED).fork();
      for (const item of content as unknown[]) put.call(to, item);
      to.ldelim();
    } else for (const item of rule === 'list' ? (content as unknown[]) : [content]) put.call(tag(WIRE[type]), item);
  }
}

/** A value; 64-bit ones become numbers: none that is written exceeds 2^53. */
function readScalar(from: protobuf.Reader, type: Scalar): unknown {
  const value = from[type]();
  const number = typeof value === 'object' && 'high' in value ? value.high * 2 ** 32 + (value.low >>> 0) : value;
  if ((type === 'uint64' || type === 'sint64') && !Number.isSafeInteger(number))
    throw new RangeError('a number is too large');
  return number;
}
const ABSENT: Record<Scalar, () => unknown> = {
  uint32: () => 0,
  uint64: () => 0,
  sint64: () => 0,
  double: () => 0,
  string: () => '',
  bytes: () => new Uint8Array(0),
};

function read(from: protobuf.Reader, fields: Fields, end: number): Content {
  const byId = new Map(Object.entries(fields).map(([name, field]) => [field.id, { ...field, name }]));
  const message: Content = {};
  for (const { name, rule, type } of byId.values())
    message[name] = rule === 'list' ? [] : rule === 'map' ? {} : rule === 'count' ? 0 : ABSENT[type as Scalar]();
  const seen = new Set<string>();
  while (from.pos < end) {
    const tag = from.uint32();
    const wire = tag & 7;
    const field = byId.get(tag >>> 3);
    // No recorder writes either; what costs a reader time is to be of some use.
    if (field === undefined) throw new RangeError(`there is a field ${tag >>> 3}`);
    const { name, type, rule } = field;
    if (rule === 'one' && seen.has(name)) throw new RangeError(`${name} comes twice`);
    if (rule === 'one') seen.add(name);
    if (rule === 'count') {
      from.skipType(wire);
      (message[name] as number)++;
    } else if (typeof type !== 'string') {
      if (wire !== DELIMITED) throw new RangeError(`${name} has the wire type ${wire}`);
      const item = read(from, type, from.uint32() + from.pos);
      if (rule === 'map') (message[name] as Content)[item.key as string] = item.value;
      else (message[name] as Content[]).push(item);
    } else if (rule === 'list' && wire === DELIMITED && WIRE[type] !== DELIMITED) {
      const items = message[name] as unknown[];
      for (const last = from.uint32() + from.pos; from.pos < last; ) items.push(readScalar(from, type));
    } else {
      if (wire !== WIRE[type]) throw new RangeError(`${name} has the wire type ${wire}`);
      const value = readScalar(from, type);
      if (rule === 'list') (message[name] as unknown[]).push(value);
      else message[name] = value;
    }
  }
  if (from.pos !== end) throw new RangeError('a message ends inside a field');
  return message;
}

/** Writes and reads one message type. Reading throws on anything malformed. */
export interface Codec<T> {
  encode(value: T): Uint8Array;
  decode(bytes: Uint8Array): T;
}

function codec<T extends object>(fields: Fields): Codec<T> {
  return {
    encode(value) {
      const to = protobuf.Writer.create();
      write(to, fields, value as Content);
      return plain(to.finish());
    },
    decode: (bytes) => read(protobuf.Reader.create(bytes), fields, bytes.length) as T,
  };
}

export const headerCodec = codec<HeaderMessage>(MESSAGES.Header);
export const journalBlockCodec = codec<JournalBlockMessage>(MESSAGES.JournalBlock);
const counted = (field: Field): Field => ({ ...field, rule: 'count' });
const { tickDeltas, details, texts, digestTickDeltas, devices } = MESSAGES.JournalBlock;
/** Reads the head of a block, passing over its columns. */
export const journalHeadCodec = codec<JournalHeadMessage>({
  ...MESSAGES.JournalBlock,
  tickDeltas: counted(tickDeltas),
  details: counted(details),
  texts: counted(texts),
  digestTickDeltas: counted(digestTickDeltas),
  devices: counted(devices),
});
export const snapshotCodec = codec<SnapshotMessage>(MESSAGES.Snapshot);
export const sectionsCodec = codec<SectionsMessage>(MESSAGES.Sections);
export const endCodec = codec<EndMessage>(MESSAGES.End);

/** An unsigned number as `count` bytes, little-endian, and back. */
export function bytesOfBig(value: bigint, count: number): Uint8Array {
  const out = new Uint8Array(count);
  for (let i = 0; i < count; i++) out[i] = Number((value >> BigInt(8 * i)) & 255n);
  return out;
}
export function bigOfBytes(bytes: Uint8Array, count: number): bigint {
  if (bytes.length !== count) throw new RangeError(`a number has ${bytes.length} bytes, not ${count}`);
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
  return value;
}
