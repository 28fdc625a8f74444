#!/bin/sh
# Builds time-travel.elf. The result is committed, so that tests need no C compiler.
set -e
cd "$(dirname "$0")"
gcc -O2 -Wall -ffreestanding -fno-pic -fno-pie -mcmodel=kernel -mno-red-zone -fno-stack-protector -fcf-protection=none \
    -fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns -fno-tree-vectorize -march=x86-64 -c boot.S kernel.c
ld -nostdlib -static -z max-page-size=4096 --build-id=none -T link.ld -o time-travel.elf boot.o kernel.o
rm boot.o kernel.o
