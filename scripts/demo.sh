#!/usr/bin/env bash
# Starts a Redis Cluster of three shards on loopback with the module and sample data, shows what the commands do, and
# stops it all. With `stay` it shows nothing, and the cluster stays until Ctrl-C.
# rmr-proxy is shown too if it stands beside the module: before the cluster, and before plain servers with two copies.
# Usage: scripts/demo.sh path/to/librmr.so [stay]
set -euo pipefail

module=$(realpath "$1")
server=${REDIS_SERVER:-redis-server}
python=${RMR_PYTHON:-/usr/bin/python3}
work=$(mktemp -d)
ports=()
pids=()

cleanup() {
    local status=$?
    trap - EXIT INT TERM
    for pid in "${pids[@]}"; do kill -CONT "$pid" 2>/dev/null || continue; kill "$pid"; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    if [ "$status" != 0 ]; then tail -n 20 "$work"/*.log >&2 2>/dev/null || true; fi
    rm -rf "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

is_free() {
    ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# The next port from the given one on that is free, together with its cluster bus port.
next_free_port() {
    local port=$1
    until is_free "$port" && is_free $((port + 10000)); do port=$((port + 1)); done
    echo "$port"
}

# Waits until a command succeeds, for 30 seconds at most, and only as long as all servers run.
await() {
    local what=$1 pid
    shift
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then return; fi
        for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null || break 2; done
        sleep 0.1
    done
    echo "demo: this did not come true: $what" >&2
    exit 1
}

is_up() {
    [ "$(redis-cli -p "$1" ping)" = PONG ]
}

# Whether the first node answers a command so.
says() {
    local expected=$1
    shift
    [ "$(redis-cli -p "${ports[0]}" "$@")" = "$expected" ]
}

is_formed() {
    redis-cli -p "$1" cluster info | grep -q cluster_state:ok
}

start_cluster() {
    local port=7001 addresses=()
    for _ in 1 2 3; do
        port=$(next_free_port "$port")
        mkdir "$work/$port"
        "$server" --port "$port" --bind 127.0.0.1 --dir "$work/$port" --logfile "$work/$port.log" --save '' \
            --cluster-enabled yes --cluster-node-timeout 3000 --loadmodule "$module" python "$python" gears on \
            >"$work/$port.out.log" 2>&1 &
        pids+=($!)
        ports+=("$port")
        addresses+=("127.0.0.1:$port")
        port=$((port + 1))
    done
    for port in "${ports[@]}"; do await "port $port answers" is_up "$port"; done
    redis-cli --cluster create "${addresses[@]}" --cluster-yes >"$work/create.log"
    for port in "${ports[@]}"; do await "the node at $port is in the cluster" is_formed "$port"; done
}

load_sample_data() {
    # With -c redis-cli goes where each key belongs.
    redis-cli -c -p "${ports[0]}" <"$(dirname "$0")/sample-data.redis" >/dev/null
}

title() {
    printf '\n# %s\n' "$*"
}

# Shows a command and what redis-cli says to it.
show() {
    printf '\n127.0.0.1:%s> %s\n' "${at:-${ports[0]}}" "$*"
    reply=$(redis-cli -p "${at:-${ports[0]}}" -3 --no-raw "$@" | tr -d '\r')
    echo "$reply"
    if [[ $reply = "(error)"* && ${expecting:-} != error ]]; then
        echo "demo: that should have worked" >&2
        exit 1
    fi
}

echo "starting three shards ..."
start_cluster
load_sample_data

if [ "${2:-}" = stay ]; then
    echo "a cluster of three shards is at the ports ${ports[*]}: redis-cli -3 -p ${ports[0]}; Ctrl-C stops it"
    trap 'exit 0' INT
    wait
    exit
fi

title "The sum of keys on different shards, from one node"
show RMR.SUM visits:home visits:search visits:about

title "Any command, as on a single server"
show RMR.EXEC MGET visits:home visits:search visits:nothing visits:about
show RMR.EXEC DBSIZE
show RMR.EXEC CONFIG SET slowlog-log-slower-than 5000
expecting=error show RMR.EXEC MSET visits:home 0 visits:search 0
show RMR.EXPLAIN EXISTS visits:search visits:about
show RMR.SCAN 0 COUNT 1000

title "A command for each key, sent to the key's shard, and one answer"
show RMR.MAP SUM 3 cart:1 cart:2 cart:3 HGET '{}' price
show RMR.MAP LIST 3 cart:1 cart:2 cart:3 HGET '{}' user
expecting=error show RMR.SUM visits:home cart:2

title "Over all keys that match, on the shards that hold them"
show RMR.MAP COUNT MATCH 'cart:*'
show RMR.MAP TOP 10 MATCH '*' MEMORY USAGE '{}'
show RMR.EXEC NONATOMIC MSET cached:1 a cached:2 b cached:3 c
show RMR.MAP SUM MATCH 'cached:*' UNLINK
show RMR.MAP ASYNC INTO HASH prices LIST MATCH 'cart:*' HGET '{}' price
job=${reply//\"/}
show RMR.JOB RESULT "$job" BLOCK 5000
show RMR.JOB STATUS "$job"

title "One command to all shards"
show RMR.FANOUT DBSIZE
show RMR.FANOUT REDUCE SUM DBSIZE
show RMR.FANOUT WITHNODES DBSIZE
show RMR.FANOUT REDUCE CONCAT KEYS 'cart:*'
show RMR.FANOUT NODE "127.0.0.1:${ports[1]}" -- CONFIG GET maxmemory

title "What has happened to keys on all nodes, by one cursor"
show RMR.EVENTS '$' MATCH 'visits:*'
cursor=${reply#*\"}
cursor=${cursor%%\"*}
show RMR.EXEC INCR visits:home
show RMR.EVENTS "$cursor" BLOCK 1000 MATCH 'visits:*'

title "A function in Python, as for RedisGears: each shard maps its own carts, and one number comes back"
show RG.PYEXECUTE "GB().map(lambda cart: float(cart['value']['price'])).avg().run('cart:*')"

title "Functions that are registered: when a key changes, when an entry comes to a stream, when a client calls"
show RG.PYEXECUTE "GB().foreach(lambda e: execute('INCR', 'changes:{%s}' % hashtag())).register('cart:*', mode='async_local', readValue=False)"
show RG.PYEXECUTE "GB('StreamReader').foreach(lambda e: execute('INCR', 'mails:{%s}' % hashtag())).register('mail:*', mode='async_local')"
show RG.PYEXECUTE "GB('CommandReader').map(lambda words: 'Hello ' + words[1]).register(trigger='hello', mode='async_local')"
show RMR.EXEC HSET cart:1 price 12.50
show RMR.EXEC HSET cart:2 price 7
show RMR.EXEC XADD mail:out '*' to Ann
show RG.TRIGGER hello Ann
await "both changes were counted" says 2 RMR.MAP SUM MATCH 'changes:*' GET '{}'
show RMR.MAP SUM MATCH 'changes:*' GET '{}'
await "the mail was counted" says 1 RMR.MAP SUM MATCH 'mails:*' GET '{}'
show RMR.MAP SUM MATCH 'mails:*' GET '{}'

proxy=$(dirname "$module")/rmr-proxy
if [ -x "$proxy" ]; then
    proxy_port=$(next_free_port 6380)
    title "rmr-proxy: plain redis-cli, no module, the same keys"
    nodes=$(printf '127.0.0.1:%s,' "${ports[@]}")
    "$proxy" --cluster "${nodes%,}" --listen "127.0.0.1:$proxy_port" >"$work/proxy.log" 2>&1 &
    pids+=($!)
    await "the proxy answers" is_up "$proxy_port"
    at=$proxy_port show MGET visits:home visits:search visits:about
    at=$proxy_port show DBSIZE
fi

# Starts a plain server at the next free port from the given one on, which is then $plain.
start_plain() {
    plain=$(next_free_port "$1")
    mkdir "$work/$plain"
    "$server" --port "$plain" --bind 127.0.0.1 --dir "$work/$plain" --logfile "$work/$plain.log" --save '' \
        >"$work/$plain.out.log" 2>&1 &
    pids+=($!)
    await "port $plain answers" is_up "$plain"
}

# Kills the server that was started last, at once.
kill_last() {
    kill -9 "${pids[-1]}"
    wait "${pids[-1]}" 2>/dev/null || true
    unset 'pids[-1]'
}

# Whether the store takes writes.
takes_writes() {
    redis-cli -p "$proxy_port" del nothing | grep -qx '[0-9]*'
}

if [ -x "$proxy" ]; then
    title "Plain servers with two copies of each key, and one of them is killed"
    start_plain 6390
    config=$plain
    at=$config show HSET settings copies 2
    proxy_port=$(next_free_port 6381)
    "$proxy" --placement "redis://127.0.0.1:$config" --listen "127.0.0.1:$proxy_port" >"$work/placement.log" 2>&1 &
    pids+=($!)
    nodes=()
    for _ in 1 2 3; do
        start_plain "$((plain + 1))"
        nodes+=("127.0.0.1:$plain")
    done
    at=$config show LPUSH newnodes "${nodes[@]}"
    await "the slots are given out" takes_writes
    at=$proxy_port show SET greeting hello
    at=$proxy_port show INCR visits
    at=$proxy_port show RMR.PLACE KEY greeting
    kill_last
    printf '\n(the server at %s is killed)\n' "${nodes[2]}"
    at=$proxy_port show INCR visits
    at=$proxy_port show GET greeting
    at=$proxy_port show RMR.PLACE NODES
fi

title "A shard that does not answer: an error that names it, or what the others say"
kill -STOP "${pids[2]}"
expecting=error show RMR.FANOUT TIMEOUT 200 DBSIZE
show RMR.FANOUT TIMEOUT 200 PARTIAL DBSIZE
kill -CONT "${pids[2]}"

title "Who is there"
show RMR.PING
show RMR.TOPOLOGY
show INFO rmr
