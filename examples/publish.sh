#!/usr/bin/env bash
# Publishes, and does not give up when the network does: sent again under its key, it is stored once.
#
#   ./publish.sh alerts "Disk full on db1"
#   ./publish.sh alerts "Disk full on db1" -H "Priority: high" -H "Tags: disk,db"
#   ./publish.sh graphs "@graph.png" -H "Content-Type: image/png"
set -euo pipefail

channel=$1 message=$2
shift 2
curl --silent --show-error --fail-with-body --retry 5 --retry-connrefused \
    -H "Idempotency-Key: $(date +%s)-$$-$RANDOM" --data-binary "$message" "$@" \
    "${NOTIFIER_URL:-http://localhost:8888}/notify/$channel"
