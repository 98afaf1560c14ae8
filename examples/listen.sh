#!/usr/bin/env bash
# Prints what comes on a channel, a JSON object a line, and goes on where it stopped, also days later.
#
#   ./listen.sh alerts            until Ctrl-C; comes back by itself
#   ./listen.sh --once alerts     what is new since the last time; for cron
#
# Where it stopped is kept in alerts.since.
set -euo pipefail

refused=64
once=
if [ "$1" = --once ]; then once=yes && shift; fi
channel=$1 file=$1.since
url=${NOTIFIER_URL:-http://localhost:8888}/stream

listen() {
    since=$(cat "$file" 2>/dev/null || echo "${once:+all}")
    curl --silent --show-error --fail-with-body --no-buffer \
        --get --data-urlencode "channel=$channel" --data-urlencode "since=${since:-latest}" \
        ${once:+-d poll=1} "$url"
}

# The members stand in this order in every line.
position='^\{"type":"(notification|subscribed)","channel":"[^"]*","position":"([^"]+)"'

while true; do
    listen | while IFS= read -r line; do
        case $line in
            '{"type":"notification"'*) echo "$line" ;;
            *'"recovered":false'* | '{"type":"gap"'*) echo "$line" >&2 ;;
            '{"error"'* | '{"type":"error"'*)
                echo "$line" >&2
                [[ $line != *'"temporary":false'* ]] || exit "$refused"
                ;;
        esac
        if [[ $line =~ $position ]]; then
            echo "${BASH_REMATCH[2]}" >"$file.new" && mv "$file.new" "$file"
        fi
    done && status=0 || status=$?
    [ -z "$once" ] || exit "$status"
    [ "$status" -ne "$refused" ] || exit "$status"
    sleep $((1 + RANDOM % 3))
done
