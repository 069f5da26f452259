#!/bin/sh
# /opt/drover/launcher/drover-agent: `run` starts and watches the right version of the agent, any other command is passed on to it.
# install.sh puts a Node.js beside it, on which every version runs (docs/adr/0010-agent-releases.md).
set -eu
here=$(dirname -- "$(readlink -f -- "$0")")
if [ ! -x "$here/node" ]; then
  printf 'Error: the Node.js of the agent is gone (%s).\n       Run install.sh again with --node PATH.\n' "$(readlink -- "$here/node" || :)" >&2
  exit 1
fi
exec "$here/node" --max-semi-space-size=1 --optimize-for-size --v8-pool-size=0 "$here/launcher-main.mjs" \
  --versions "$here/../versions" --state "${DROVER_LAUNCHER_STATE:-/var/lib/drover/agent}" -- "$@"
