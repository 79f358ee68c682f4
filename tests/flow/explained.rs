//! Tests the plans of flows, which nothing runs.

use crate::servers::Servers;

#[test]
fn shares_and_their_ways_are_shown() {
    for servers in Servers::all() {
        let kind = servers.kind;
        servers.set("SET user:1 1");
        let node = &servers.asked()[0];
        let shown = node.reply3("RMR.EXPLAIN RMR.MAP SUM MATCH user:* TYPE string LIMIT 5 EXPIRE {} 9");
        for part in [
            "{\"command\": \"rmr.map\", \"steps\": [\"keys that match 'user:*' of type string\", \"5 of them at most\", ",
            "\"EXPIRE {} 9\"], \"effect\": \"writes\", \"reducer\": \"SUM\"",
            "\"shares-run\": \"one after the other, for LIMIT\"",
        ] {
            assert!(shown.contains(part), "{kind}: {part} in {shown}");
        }
        let ways = |way: &str| shown.matches(&format!(", \"{way}\"]")).count();
        let [here, there, plain, lacks] = [
            ways("here, in process"),
            ways("on that node, in process"),
            ways("plain commands"),
            ways("plain commands: the node takes no shares"),
        ];
        let expected = match kind {
            "a single server" => [1, 0, 0, 0],
            "a list of servers" => [0, 0, 2, 0],
            "a cluster" => [1, 2, 0, 0],
            _ => [1, 1, 0, 1],
        };
        assert_eq!([here, there, plain, lacks], expected, "{kind}: {shown}");
        assert_eq!(servers.exec("TTL user:1"), "-1", "{kind}: nothing has run");

        let given = node.reply3("RMR.EXPLAIN RMR.MAP SUM 1 user:1 GET");
        assert!(given.contains("\"keys\": 1, \"reducer\": \"SUM\""), "{kind}: {given}");
        let error = node.reply("RMR.EXPLAIN RMR.MAP SUM MATCH * PING");
        assert!(error.starts_with("-ERR 'PING' has no key"), "{kind}: {error}");
    }
}
