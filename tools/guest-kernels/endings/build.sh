#!/bin/sh
# Builds endings.elf: build.sh [OUTPUT FOLDER], by default beside the sources. The result is committed, so that tests need no C compiler.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here}
objects=$(mktemp -d)
cd "$objects"
gcc -O1 -Wall -ffreestanding -fno-pic -fno-pie -mcmodel=kernel -mno-red-zone -fno-stack-protector -fcf-protection=none \
    -fno-asynchronous-unwind-tables -mgeneral-regs-only -c "$here/boot.S" "$here/kernel.c"
ld -nostdlib -static -z max-page-size=4096 --build-id=none -T "$here/link.ld" -o "$out/endings.elf" boot.o kernel.o
rm -r "$objects"
