#!/bin/sh
# Usage: keep-config.sh FILE… [-- ARGUMENT…]
# Starts redis-server, with the arguments, on a configuration that is put together from the files once, and
# then kept beside the data: Redis and Sentinel write into theirs who leads and who follows, and that must
# outlive a restart. Started anew from the files, an old primary would lead again, with old data.
set -eu
kept=${DATA:-/data}/kept.conf
if [ -e "$kept" ]; then
    while [ $# -gt 0 ] && [ "$1" != -- ]; do shift; done
else
    : >"$kept.new"
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        sed "s/\$NAME/${NAME:-$(hostname)}/" "$1" >>"$kept.new"
        shift
    done
    # Whole or not at all.
    mv "$kept.new" "$kept"
fi
[ $# -eq 0 ] || shift
exec redis-server "$kept" "$@"
