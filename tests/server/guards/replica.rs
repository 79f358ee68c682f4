//! A replica answers what is no write in its own share, and refuses what is one.

use std::time::Duration;

use crate::common::{Cluster, eventually};

const READONLY: &str = "READONLY You can't write against a read only replica.";
const LIBRARY: &str =
    "#!lua name=lib\nredis.register_function{function_name='f', callback=function() return 7 end, flags={'no-writes'}}";

#[test]
fn a_replica_answers_what_is_no_write_in_its_own_share_by_exec_fanout_and_on_all() {
    let cluster = Cluster::builder().shards(1).replicas(1).start();
    let (primary, replica) = (cluster.node(0), cluster.node(1));
    primary.run::<()>(&["FUNCTION", "LOAD", LIBRARY]);
    eventually(Duration::from_secs(10), "the library is there", || replica.reply("FUNCTION LIST").contains("lib"));
    let sha = primary.run::<String>(&["SCRIPT", "LOAD", "return 7"]);
    replica.run::<String>(&["SCRIPT", "LOAD", "return 7"]);
    let on = format!("NODE {}", replica.address());
    for (command, reply) in [
        (vec!["EVAL", "return 7", "0"], "7"),
        (vec!["EVALSHA", &sha, "0"], "7"),
        (vec!["FCALL", "f", "0"], "7"),
        (vec!["FCALL_RO", "f", "0"], "7"),
        (vec!["SCRIPT", "EXISTS", &sha], "[1]"),
        (vec!["PUBLISH", "c", "m"], "0"),
    ] {
        let exec: Vec<&str> = ["RMR.EXEC"].into_iter().chain(on.split(' ')).chain(command.iter().copied()).collect();
        assert_eq!(replica.wire().reply_to(&exec), reply, "{exec:?}");
        let fanout: Vec<&str> =
            ["RMR.FANOUT"].into_iter().chain(on.split(' ')).chain(command.iter().copied()).collect();
        assert_eq!(replica.wire().reply_to(&fanout), format!("[{reply}]"), "{fanout:?}");
    }
    assert!(replica.reply("RMR.EXEC FUNCTION LIST").contains("lib"));
    assert_eq!(
        replica.wire().reply_to(&["RMR.EXEC", "ON", "ALL", "SCRIPT", "LOAD", "return 8"]).matches('"').count(),
        2
    );
}

#[test]
fn a_replica_refuses_writes_in_its_own_share_by_exec_fanout_and_scripts() {
    let cluster = Cluster::builder().shards(1).replicas(1).start();
    let (primary, replica) = (cluster.node(0), cluster.node(1));
    primary.run::<()>(&["SET", "k", "1"]);
    primary.run::<()>(&["FUNCTION", "LOAD", LIBRARY]);
    eventually(Duration::from_secs(10), "the library is there", || replica.reply("FUNCTION LIST").contains("lib"));
    let on = format!("NODE {}", replica.address());
    for command in ["FLUSHALL", "FLUSHDB", "FUNCTION FLUSH", "FUNCTION DELETE lib"] {
        for line in [format!("RMR.EXEC {on} {command}"), format!("RMR.FANOUT {on} {command}")] {
            let reply = replica.reply(&line);
            assert!(reply.contains(READONLY), "{line}: {reply}");
        }
    }
    for script in ["return redis.call('FLUSHALL')", "#!lua\nreturn redis.call('FLUSHALL')"] {
        let line: Vec<&str> = ["RMR.EXEC"].into_iter().chain(on.split(' ')).chain(["EVAL", script, "0"]).collect();
        let plain = replica.wire().reply_to(&["EVAL", script, "0"]);
        assert_eq!(replica.wire().reply_to(&line), plain);
        assert!(plain.contains("READONLY") || plain.contains("read only replica"), "{plain}");
    }
    // A key is looked for at its owner.
    assert_eq!(replica.reply("RMR.EXEC INCR k"), "2");
    assert!(replica.reply("FUNCTION LIST").contains("lib"));
    assert_eq!(primary.reply("DBSIZE"), "1");
}
