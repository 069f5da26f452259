#!/bin/sh
# bin/drover-agent of a version of the agent. The launcher says on which Node.js it runs; by hand it is the one on the PATH.
set -eu
here=$(dirname -- "$(readlink -f -- "$0")")
node=${DROVER_NODE:-}
if [ -z "$node" ]; then
  node=$(command -v node) || {
    printf 'Error: no Node.js found.\n       Run /usr/local/bin/drover-agent, or set DROVER_NODE.\n' >&2
    exit 1
  }
fi
# For the supervisor alone (its children are started without them): a young generation that cannot grow to its 16 MiB, and small code before fast
# code, because its heap lives long and it computes little (docs/adr/0005-bundled-agent.md).
exec "$node" --max-semi-space-size=1 --optimize-for-size "$here/../agent/dist/bundled/main.js" "$@"
