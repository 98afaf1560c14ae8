#!/usr/bin/env bash
# Does something about each notification: here, writes the urgent ones into urgent.log.
#
#   ./react.sh alerts "builds:*"
#
# It goes on where it stopped, which is kept in react.state; one runs at a time, in order.
set -euo pipefail

if [ -z "${NOTIFIER_CHANNEL-}" ]; then # started by you: run me for each
    exec notifier subscribe "$@" --state react.state --exec "'$(realpath "$0")'"
fi

# Started for a notification: its fields are in the environment, the whole as JSON on stdin.
if [ "${NOTIFIER_PRIORITY:-3}" -ge 4 ]; then
    echo "$NOTIFIER_TIME $NOTIFIER_CHANNEL ${NOTIFIER_TITLE-} ${NOTIFIER_MESSAGE-}" >>urgent.log
fi
