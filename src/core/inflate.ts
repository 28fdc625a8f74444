/** What inflates: the host's own, where it has one, is faster than the loader's. */

/**
 * Inflates the stream (RFC 1951) at `start` of `bytes` to at most `most` bytes and says where it ends; throws when it is corrupt or
 * larger.
 */
export type Inflate = (bytes: Uint8Array, start: number, most: number) => { content: Uint8Array; end: number };
