/**
 * The anchor file: what a recording must at least contain, so that a lost tail is not taken for a short recording.
 *
 * Invariant: a slot is written only after what it counts is on disk; the two slots are written in turn.
 */
import { closeSync, constants, openSync, writeFileSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { EmulatorError } from '../src/core/errors.ts';
import { FORMAT_VERSION, isReadableFormat, OLDEST_FORMAT_VERSION } from '../src/timeline/trace-store.ts';
import { readPlainFile } from './plain-file.ts';
import { damaged } from './sealed.ts';

const MAGIC = 'HINDSIGHT RECORDING ';
const FILE_BYTES = 192;
const SLOT_BYTES = 64;
const CREATED = 32;
/** Anchors of other versions may be longer. */
const ANCHOR_BYTES_MAX = 4096;

/** What the recording contains at least. */
export interface Anchor {
  /** How often the anchor was written. */
  count: number;
  blocks: number;
  snapshots: number;
  ended: boolean;
  /** Chain hash of block `blocks` - 1, 16 bytes. */
  lastHash: Uint8Array;
}

export const newAnchor = (): Anchor => ({
  count: 0,
  blocks: 0,
  snapshots: 0,
  ended: false,
  lastHash: new Uint8Array(16),
});

function encodeSlot(anchor: Anchor): Buffer {
  const slot = Buffer.alloc(SLOT_BYTES);
  slot.writeUInt32LE(anchor.count, 0);
  slot.writeUInt32LE(anchor.blocks, 4);
  slot.writeUInt32LE(anchor.snapshots, 8);
  slot.writeUInt32LE(anchor.ended ? 1 : 0, 12);
  slot.set(anchor.lastHash, 16);
  slot.writeUInt32LE(crc32(slot.subarray(0, SLOT_BYTES - 4)), SLOT_BYTES - 4);
  return slot;
}

function decodeSlot(slot: Buffer, parity: number): Anchor | null {
  if (crc32(slot.subarray(0, SLOT_BYTES - 4)) !== slot.readUInt32LE(SLOT_BYTES - 4)) return null;
  const count = slot.readUInt32LE(0);
  if (count % 2 !== parity) return null;
  return {
    count,
    blocks: slot.readUInt32LE(4),
    snapshots: slot.readUInt32LE(8),
    ended: slot.readUInt32LE(12) === 1,
    lastHash: Uint8Array.from(slot.subarray(16, 32)),
  };
}

/** Writes the file of a new recording, to the disk. */
export function createAnchor(path: string, createdMs: number): void {
  const file = Buffer.alloc(FILE_BYTES);
  file.write(`${MAGIC}${FORMAT_VERSION}\n`, 'latin1');
  file.writeDoubleLE(createdMs, CREATED);
  file.writeUInt32LE(crc32(file.subarray(0, CREATED + 8)), CREATED + 8);
  file.set(encodeSlot(newAnchor()), SLOT_BYTES);
  file.set(encodeSlot({ ...newAnchor(), count: 1 }), 2 * SLOT_BYTES);
  writeFileSync(path, file, { flag: 'wx', flush: true });
}

/** What the file says. */
export interface AnchorFile {
  readonly createdMs: number;
  readonly anchor: Anchor;
  /** Both slots can be read. A writer that was killed may leave one that cannot: then the other holds. */
  readonly isWhole: boolean;
}

/** Reads an anchor; E_RECORDING when it is missing or not one, is of another format version, or is damaged. */
export function readAnchor(path: string, name: string): AnchorFile {
  const file = readPlainFile(path, `the anchor of ${name}`, ANCHOR_BYTES_MAX);
  if (file === null) throw damaged(`the anchor of ${name}`, 'is missing');
  const text = file.subarray(0, CREATED).toString('latin1');
  const version = /^HINDSIGHT RECORDING (\d+)\n\0*$/.exec(text)?.[1];
  if (version === undefined)
    throw new EmulatorError('E_RECORDING', `${name} is not a recording: its anchor is foreign`);
  if (!isReadableFormat(Number(version)))
    throw new EmulatorError(
      'E_RECORDING',
      `the anchor of ${name} says format version ${version}; this version of hindsight reads ${OLDEST_FORMAT_VERSION} to ${FORMAT_VERSION}`,
    );
  if (file.length !== FILE_BYTES) throw damaged('the anchor', `is damaged: it has ${file.length} bytes`);
  if (crc32(file.subarray(0, CREATED + 8)) !== file.readUInt32LE(CREATED + 8))
    throw damaged('the anchor', 'is damaged: its checksum is wrong');
  const slots = [0, 1].map((parity) =>
    decodeSlot(file.subarray((parity + 1) * SLOT_BYTES, (parity + 2) * SLOT_BYTES), parity),
  );
  const readable = slots.filter((slot) => slot !== null).sort((a, b) => b.count - a.count);
  const newest = readable[0];
  if (newest === undefined) throw damaged('the anchor', 'is damaged: neither slot can be read');
  return { createdMs: file.readDoubleLE(CREATED), anchor: newest, isWhole: readable.length === slots.length };
}

/** Keeps the anchor of an open recording up to date. */
export class AnchorWriter {
  readonly #path: string;
  readonly anchor: Anchor;
  #file: number | null = null;

  constructor(path: string, anchor: Anchor) {
    this.#path = path;
    this.anchor = anchor;
  }
  /** Writes `change` over the older slot. */
  update(change: Partial<Omit<Anchor, 'count'>>): void {
    Object.assign(this.anchor, change);
    this.anchor.count++;
    this.#file ??= openSync(this.#path, constants.O_RDWR | constants.O_NOFOLLOW);
    const at = ((this.anchor.count % 2) + 1) * SLOT_BYTES;
    writeSync(this.#file, encodeSlot(this.anchor), 0, SLOT_BYTES, at);
  }
  close(): void {
    if (this.#file !== null) closeSync(this.#file);
    this.#file = null;
  }
}
