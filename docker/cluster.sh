#!/bin/sh
# Starts a Redis Cluster of three shards with the module on three ports in a row, and ends with them. Clients are sent to 127.0.0.1, so
# publish the same ports: docker run --rm -p 127.0.0.1:30001-30003:30001-30003 rmr-cluster
set -eu

module=${RMR_MODULE:-/usr/lib/redis/modules/librmr.so}
first=${FIRST_PORT:-30001}
dir=${1:-/data}
last=$((first + 2))
pids=
nodes=

stop() {
    trap - INT TERM
    # shellcheck disable=SC2086 # several ids
    kill $pids 2>/dev/null || true
    wait
}
trap stop INT TERM

for port in $(seq "$first" "$last"); do
    mkdir -p "$dir/$port"
    redis-server --port "$port" --dir "$dir/$port" --protected-mode no --cluster-enabled yes --cluster-node-timeout 5000 \
        --cluster-announce-ip 127.0.0.1 --loadmodule "$module" &
    pids="$pids $!"
    nodes="$nodes 127.0.0.1:$port"
done
for port in $(seq "$first" "$last"); do
    until [ "$(redis-cli -p "$port" PING 2>/dev/null)" = PONG ]; do sleep 0.1; done
done

is_formed() {
    redis-cli -p "$1" CLUSTER INFO | grep -q cluster_state:ok
}

# After a restart with the same folder the cluster is there already.
if ! redis-cli -p "$first" CLUSTER INFO | grep -q cluster_known_nodes:3; then
    # shellcheck disable=SC2086 # several addresses
    redis-cli --cluster create $nodes --cluster-yes
fi
for port in $(seq "$first" "$last"); do
    until is_formed "$port"; do sleep 0.1; done
done
echo "a cluster of three shards is at the ports $first to $last: redis-cli -c -p $first"
# An end of one is not the end of the cluster; a signal is.
wait
