#!/bin/sh
# The main job, start to end: plan, apply, prove, change something by hand, see the drift, repair it.
#   sh examples/demo.sh local        on the embedded workspace: no account, no network
#   sh examples/demo.sh databricks   the same through `reconciler emulator serve`, over HTTP on 127.0.0.1
set -eu
cd "$(dirname "$0")/.."
bin=${BIN:-.venv/bin}
work=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server"; fi; rm -rf "$work"' EXIT

if [ "${1:-local}" = databricks ]; then
    "$bin/reconciler" emulator serve --port 0 --db "$work/workspace.db" --provisioning 1s > "$work/serving" &
    server=$!
    while ! grep -q listening "$work/serving"; do
        kill -0 "$server"
        sleep 0.1
    done
    DATABRICKS_HOST=$(sed -n 's/^listening on //p' "$work/serving")
    DATABRICKS_TOKEN=any-token
    export DATABRICKS_HOST DATABRICKS_TOKEN
    target=databricks
else
    target=local:$work/workspace.db
fi

step() {
    printf '\n\n━━━ %s\n\n' "$*"
}

step "1. plan: what would be called, and why"
"$bin/reconciler" plan examples/manifests --target "$target"

step "2. apply: make it so, wait until it is live, prove it"
"$bin/reconciler" apply examples/manifests --target "$target" --auto-approve

step "3. plan again: nothing left to do"
"$bin/reconciler" plan examples/manifests --target "$target" --detailed-exitcode

step "4. somebody changes a rate limit by hand, past the manifests"
"$bin/python" - "$target" <<'PYTHON'
import sys

from reconciler.targets import connect

with connect(sys.argv[1]) as client:
    gateway = dict(client.get_endpoint("embeddings")["ai_gateway"])
    gateway["rate_limits"] = [{"key": "endpoint", "tokens": 900000, "renewal_period": "minute"}]
    client.update_endpoint_ai_gateway("embeddings", gateway)
    print("embeddings: endpoint limit is now 900,000 tokens a minute")
PYTHON

step "5. plan: the drift"
code=0
"$bin/reconciler" plan examples/manifests --target "$target" --detailed-exitcode || code=$?
[ "$code" = 2 ] || { echo "expected exit code 2 (there are changes), got $code"; exit 1; }

step "6. apply: repair it"
"$bin/reconciler" apply examples/manifests --target "$target" --auto-approve

step "7. plan once more"
"$bin/reconciler" plan examples/manifests --target "$target" --detailed-exitcode
