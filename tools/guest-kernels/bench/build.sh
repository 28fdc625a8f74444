#!/bin/sh
# Builds bench.elf: build.sh [OUTPUT FOLDER], by default beside the sources. The result is committed, so that measuring needs no C compiler.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here}
objects=$(mktemp -d)
common='-O2 -Wall -Wextra -ffreestanding -fno-pic -fno-pie -mno-red-zone -fno-stack-protector -fcf-protection=none -fno-math-errno
    -fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns -fno-tree-vectorize -march=x86-64'
for source in "$here"/*.S "$here"/*.c; do
    name=$(basename "$source")
    case $name in sse2.c | *.S) kind= ;; *) kind=-mgeneral-regs-only ;; esac
    gcc $common $kind -c "$source" -o "$objects/$name.o"
done
ld -m elf_x86_64 -static -nostdlib --build-id=none -z noexecstack -z max-page-size=4096 --no-warn-rwx-segments \
    -T "$here/link.ld" -o "$out/bench.elf" "$objects"/*.o
rm -r "$objects"
