#!/bin/sh
# A run, a draft that somebody changes, and a second run that goes on from there. Starts a server of its own, which ends with
# it, unless HEDDLE_URL and HEDDLE_KEY name one. Options, such as --sandbox, are for that server.
set -eu
here=$(dirname "$0")

if [ -z "${HEDDLE_URL:-}" ]; then
  HEDDLE_DATA=$(mktemp -d)
  export HEDDLE_DATA
  heddle up --listen 127.0.0.1:0 "$@" >"$HEDDLE_DATA/said" &
  server=$!
  trap 'kill $server; wait $server || true; rm -r "$HEDDLE_DATA"' EXIT
  until grep -q ' is ready on ' "$HEDDLE_DATA/said"; do kill -0 $server; sleep 0.1; done
fi

# What the models make of it.
first=$(heddle run "$here/workflow.json" -i topic=tides --json)
id=${first#*'"executionId":"'}
id=${id%%'"'*}
heddle executions get "$id" >&2

# The draft is wrong: the tags stay, the teaser is made anew.
heddle executions resume "$id" --set draft.text=@"$here/inputs/draft.txt" --yes
heddle executions lineage "$id" >&2
