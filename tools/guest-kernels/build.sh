#!/bin/sh
# Builds the test kernels of the IDT machine: build.sh [OUTPUT FOLDER], by default beside their sources.
set -eu
here=$(cd "$(dirname "$0")/idt" && pwd)
out=${1:-$here}
for source in "$here"/*.S; do
    name=$(basename "$source" .S)
    object=$(mktemp)
    gcc -c -m64 -o "$object" "$source"
    ld -m elf_x86_64 -static -nostdlib --build-id=none -z noexecstack -z max-page-size=4096 --no-warn-rwx-segments -s \
        -T "$here/link.ld" -o "$out/$name.elf" "$object"
    rm -f "$object"
done
