/**
 * What an ELF file may ask of its reader. Files are hostile, and none of these numbers is near what a real kernel has.
 */

/** The notes of a file that are read, as in libelf (ELF_MAX_TOTAL_NOTE_COUNT); overlapping headers count each time. */
export const MOST_NOTES = 65536;

/** Bytes of a string that are read, as in libelf (ELF_MAX_STRING_LENGTH). */
export const LONGEST_STRING = 4096;

/** Bytes that the names of all symbols may have together; the names that Debian's kernel lists itself have 2 million. */
export const SYMBOL_NAMES_LIMIT_BYTES = 64 << 20;

/** Symbols that a table may have; a Linux kernel has some 200,000. */
export const MOST_SYMBOLS = 1 << 20;
