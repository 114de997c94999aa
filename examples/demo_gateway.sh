#!/bin/sh
# An MLflow AI Gateway as code, against a real `mlflow server` on 127.0.0.1: plan, apply, prove, drift, repair, a
# rotated key, an export, and everything deleted again in order.
#   sh examples/demo_gateway.sh
set -eu
cd "$(dirname "$0")/.."
bin=$(cd "${BIN:-.venv/bin}" && pwd)
work=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server"; wait "$server" || true; fi; rm -rf "$work"' EXIT

step() {
    printf '\n\n━━━ %s\n\n' "$*"
}

step "1. a real MLflow server"
port=$("$bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port
(
    cd "$work"
    MLFLOW_CRYPTO_KEK_PASSPHRASE="for this demo only" MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false exec "$bin/mlflow" server \
        --backend-store-uri "sqlite:///$work/mlflow.db" --host 127.0.0.1 --port "$port" --workers 1
) > "$work/server.log" 2>&1 &
server=$!
until "$bin/python" -c "import requests; requests.get('$url/health', timeout=2).raise_for_status()" 2> /dev/null; do
    kill -0 "$server" || { cat "$work/server.log"; exit 1; }
    sleep 0.5
done
echo "$url"

cp -r examples/manifests/gateway "$work/gateway"
cd "$work/gateway"
export XDG_CONFIG_HOME="$work/config" OPENAI_API_KEY=sk-a-key-for-the-demo-0001 ANTHROPIC_API_KEY=sk-ant-for-the-demo-0001
target=mlflow-gateway+$url

step "2. plan: what would be called, in the order of what names what"
"$bin/reconciler" plan --target "$target"

step "3. apply: make it so, and prove it"
"$bin/reconciler" apply --target "$target" --auto-approve

step "4. plan again: nothing left to do"
"$bin/reconciler" plan --target "$target" --detailed-exitcode

step "5. somebody changes an endpoint by hand, past the manifests"
"$bin/python" - "$url" <<'PYTHON'
import sys

import requests

api = f"{sys.argv[1]}/api/3.0/mlflow/gateway"
chat = requests.get(f"{api}/endpoints/get", params={"name": "support-chat"}, timeout=10).json()["endpoint"]
mini = next(m for m in chat["model_mappings"] if m["model_definition"]["name"] == "gpt-4o-mini")
only = [{"model_definition_id": mini["model_definition_id"], "linkage_type": "PRIMARY"}]
body = {"endpoint_id": chat["endpoint_id"], "model_configs": only}
requests.post(f"{api}/endpoints/update", json=body, timeout=10).raise_for_status()
print("support-chat: gpt-4o-mini answers alone now, without fallback")
PYTHON

step "6. plan: the drift"
code=0
"$bin/reconciler" plan --target "$target" --detailed-exitcode || code=$?
[ "$code" = 2 ] || { echo "expected exit code 2 (there are changes), got $code"; exit 1; }

step "7. apply: repair it; and a key was rotated meanwhile, which shows too"
OPENAI_API_KEY=sk-a-key-for-the-demo-0002 "$bin/reconciler" apply --target "$target" --auto-approve

step "8. plan once more"
OPENAI_API_KEY=sk-a-key-for-the-demo-0002 "$bin/reconciler" plan --target "$target" --detailed-exitcode

step "9. export: the live side as manifests, whose plan is empty"
"$bin/reconciler" export --target "$target" --out "$work/exported"
find "$work/exported" -name '*.yaml' | sed "s#$work/##" | sort

step "10. destroy: downwards, only what is ours"
"$bin/reconciler" destroy --target "$target" --auto-approve
