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
exec "$node" "$here/../agent/dist/main.js" "$@"
