#!/bin/sh
# Makes one Redis Cluster of the masters that are named. Can be run again at any time: slots are given out
# once, and each master is told where the others are now (containers get new addresses).
set -eu
port=${PORT:-6379}

ask() {
    host=$1
    shift
    redis-cli -e -h "$host" -p "$port" "$@"
}

# A node's line has eight fields; slots come after them.
has_slots() {
    ask "$1" cluster nodes | awk '/myself/ { found = NF > 8 } END { exit !found }'
}

# Masters can't be told names, only addresses. What is not a name is one.
address() {
    found=$(getent hosts "$1" | awk '{ print $1; exit }')
    echo "${found:-$1}"
}

number=0
for master in "$@"; do
    if ! has_slots "$master"; then
        # Each a number of its own, or they would have to find out who is right. Set already, if this
        # was broken off here.
        ask "$master" cluster set-config-epoch $((number + 1)) || true
        ask "$master" cluster addslotsrange \
            $((16384 * number / $#)) $((16384 * (number + 1) / $# - 1))
    fi
    number=$((number + 1))
done

# Links that work are left alone: a second introduction would cut them for a moment.
connected() {
    ask "$1" cluster nodes | awk '$8 == "connected" { count++ } END { print count + 0 }'
}

for master in "$@"; do
    [ "$(connected "$master")" -ne $# ] || continue
    for other in "$@"; do
        ask "$master" cluster meet "$(address "$other")" "$port"
    done
done

for master in "$@"; do
    until ask "$master" cluster info | grep -q cluster_state:ok; do
        sleep 0.2
    done
done
ask "$1" cluster nodes
