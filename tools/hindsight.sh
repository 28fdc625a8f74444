#!/bin/sh
# The `hindsight` command. In an installed checkout the project's own Node starts at once; tools/hindsight.mjs, which may run in an older
# Node and compares every version with package-lock.json, is asked only where that file is newer than the installation.
self=$(readlink -f "$0")
tools=${self%/*}
modules=${tools%/*}/node_modules
if [ -x "$modules/node/bin/node" ] && [ "$modules/.package-lock.json" -nt "${tools%/*}/package-lock.json" ]; then
    # no signal opens a debugger, which any user of the host could use
    # a young generation of 16 MiB: building a machine then needs no garbage collection
    export NODE_COMPILE_CACHE="${NODE_COMPILE_CACHE:-$modules/.cache/hindsight-compile}"
    export HINDSIGHT_CODE_CACHE="${HINDSIGHT_CODE_CACHE-$modules/.cache/hindsight-code}"
    export HINDSIGHT_HANDLERS="${HINDSIGHT_HANDLERS-$modules/.cache/hindsight-handlers}"
    exec "$modules/node/bin/node" --disable-sigusr1 --min-semi-space-size=16 "${tools%/*}/src/cli/main.ts" "$@"
fi
exec node "$tools/hindsight.mjs" "$@"
