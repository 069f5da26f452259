#!/bin/sh
# bin/drover-agent of an installed bundle. install.sh puts the Node.js that fits this bundle's native modules beside it.
set -eu
here=$(dirname -- "$(readlink -f -- "$0")")
node="$here/node"
if [ ! -x "$node" ]; then
  node=$(command -v node) || {
    printf 'Error: no Node.js found.\n       Run install.sh again with --node PATH.\n' >&2
    exit 1
  }
fi
# For the supervisor alone (its children are started without them): a young generation that cannot grow to its 16 MiB, and small code before fast
# code, because its heap lives long and it computes little (docs/adr/0005-bundled-agent.md).
exec "$node" --max-semi-space-size=1 --optimize-for-size "$here/../agent/dist/bundled/main.js" "$@"
