//! Numbered databases in a cluster, which Valkey 9 has with `cluster-databases`: what the asked node can serve itself is
//! served from the selected database, and all else is refused by the database's number, before anything is sent.

use crate::common::{Cluster, Wire, slot_of};

/// Returns three shards with 16 databases each; `None` where a server has only one in a cluster.
fn with_databases() -> Option<Cluster> {
    let cluster = Cluster::start(3);
    let has_setting = cluster.node(0).reply("CONFIG GET cluster-databases") != "[]";
    if !has_setting {
        println!("skipped: this server has one database in a cluster");
        return None;
    }
    Some(Cluster::builder().config("cluster-databases", "16").start())
}

fn select(wire: &mut Wire, database: usize) {
    assert_eq!(wire.reply(&format!("SELECT {database}")), "+OK");
}

#[test]
fn what_needs_other_nodes_is_refused_by_the_name_of_the_database() {
    let Some(cluster) = with_databases() else { return };
    let (here, there) = (cluster.key_for(0, "here"), cluster.key_for(1, "there"));
    cluster.set(&here, "1");
    cluster.set(&there, "2");
    let mut wire = cluster.node(0).wire();
    select(&mut wire, 1);
    for line in [
        format!("RMR.SUM {there}"),
        format!("RMR.SUM {here} {there}"),
        format!("RMR.MAP LIST 2 {here} {there} SET {{}} 5"),
        format!("RMR.EXEC GET {there}"),
        format!("RMR.EXEC SET {there} 5"),
        format!("RMR.EXEC MGET {here} {there}"),
        format!("RMR.EXEC DEL {here} {there}"),
        format!("RMR.EXEC NONATOMIC MSET {here} 5 {there} 5"),
        format!("RMR.BATCH {here} 1 3 SET {here} 5 {there} 1 3 SET {there} 5"),
        "RMR.EXEC DBSIZE".into(),
        "RMR.EXEC KEYS *".into(),
        "RMR.EXEC RANDOMKEY".into(),
        // The first slots are the asked node's own, and these are not.
        "RMR.EXEC SCAN 6000".into(),
        "RMR.SCAN 6000".into(),
        "RMR.EXEC FLUSHDB".into(),
        "RMR.EXEC FLUSHALL".into(),
        "RMR.FANOUT DBSIZE".into(),
        "RMR.FANOUT REDUCE SUM DBSIZE".into(),
        "RMR.FANOUT ON ALL FLUSHDB".into(),
        format!("RMR.FANOUT KEY {there} DBSIZE"),
    ] {
        let refusal = wire.reply(&line);
        assert!(refusal.starts_with("-ERR ") && refusal.contains("database 1 is selected"), "{line}: {refusal}");
    }
    // Nothing was done, in whatever database.
    for database in [0, 1] {
        let values: Vec<String> = [(0, &here), (1, &there)]
            .map(|(node, key)| {
                let mut owner = cluster.node(node).wire();
                select(&mut owner, database);
                owner.reply(&format!("GET {key}"))
            })
            .into();
        assert_eq!(values, if database == 0 { ["\"1\"", "\"2\""] } else { ["nil", "nil"] }, "database {database}");
    }
}

#[test]
fn what_the_asked_node_has_is_served_from_the_selected_database() {
    let Some(cluster) = with_databases() else { return };
    let keys: Vec<String> = cluster.keys_for(0, "here").take(40).collect();
    let listed = keys.join(" ");
    let own = cluster.node(0).address();
    for pushdown in ["off", "on"] {
        cluster.node(0).run::<()>(&["CONFIG", "SET", "rmr.pushdown", pushdown]);
        let mut wires = [0, 1, 7].map(|database| {
            let mut wire = cluster.node(0).wire();
            select(&mut wire, database);
            (database, wire)
        });
        for (database, wire) in &mut wires {
            assert_eq!(wire.reply(&format!("RMR.MAP COUNT 40 {listed} SET {{}} {database}")), "40");
        }
        for (database, wire) in &mut wires {
            let when = format!("database {database}, pushdown {pushdown}");
            assert_eq!(wire.reply(&format!("RMR.SUM {listed}")), (40 * *database).to_string(), "{when}");
            assert_eq!(wire.reply(&format!("RMR.EXEC GET {}", keys[0])), format!("\"{database}\""), "{when}");
            assert_eq!(wire.reply(&format!("RMR.EXEC EXISTS {listed}")), "40", "{when}");
            assert_eq!(wire.reply(&format!("RMR.FANOUT NODE {own} DBSIZE")), "[40]", "{when}");
            assert_eq!(
                wire.reply(&format!("RMR.BATCH {0} 1 2 GET {0}", keys[1])),
                format!("[\"{}\", [\"{database}\"]]", keys[1])
            );
            assert_eq!(wire.reply("MULTI"), "+OK");
            wire.reply(&format!("RMR.SUM {listed}"));
            assert_eq!(wire.reply("EXEC"), format!("[{}]", 40 * *database), "{when}");
        }
        for (database, wire) in &mut wires {
            assert_eq!(wire.reply(&format!("RMR.MAP SUM 40 {listed} DEL")), "40", "database {database}");
        }
    }
}

/// A cluster of one node is a server with databases.
#[test]
fn a_node_that_has_all_slots_serves_all_databases_whole() {
    let Some(_) = with_databases() else { return };
    let cluster = Cluster::builder().shards(1).config("cluster-databases", "16").start();
    let mut wires = [0, 3].map(|database| {
        let mut wire = cluster.node(0).wire();
        select(&mut wire, database);
        (database, wire)
    });
    for (database, wire) in &mut wires {
        for number in 0..=*database {
            assert_eq!(wire.reply(&format!("RMR.EXEC SET k:{database}:{number} {number}")), "+OK");
        }
    }
    for (database, wire) in &mut wires {
        let count = *database + 1;
        assert_eq!(wire.reply("RMR.EXEC DBSIZE"), count.to_string());
        assert_eq!(wire.reply("RMR.FANOUT DBSIZE"), format!("[{count}]"));
        let listed = wire.reply("RMR.EXEC KEYS *");
        assert_eq!(listed.matches(&format!("k:{database}:")).count(), count, "{listed}");
        assert!(wire.reply("RMR.EXEC RANDOMKEY").starts_with(&format!("\"k:{database}:")));
        let (mut cursor, mut shown) = ("0".to_owned(), String::new());
        loop {
            let page = wire.reply(&format!("RMR.SCAN {cursor} COUNT 100"));
            cursor = page.trim_start_matches("[\"").split('"').next().expect("a cursor").to_owned();
            shown += &page;
            if cursor == "0" {
                break;
            }
        }
        for number in 0..count {
            assert_eq!(shown.matches(&format!("\"k:{database}:{number}\"")).count(), 1, "{shown}");
        }
        assert_eq!(shown.matches("\"k:").count(), count, "{shown}");
    }
    let (_, wire) = &mut wires[1];
    assert_eq!(wire.reply("RMR.EXEC FLUSHDB"), "+OK");
    assert_eq!(wire.reply("RMR.EXEC DBSIZE"), "0");
    assert_eq!(wires[0].1.reply("RMR.EXEC DBSIZE"), "1", "the other database is as it was");
}

/// A command that moves a key between databases does so at the key's owner, from database 0.
#[test]
fn keys_go_to_other_databases_where_they_are() {
    let Some(cluster) = with_databases() else { return };
    let keys: Vec<String> = (0..3).map(|shard| cluster.key_for(shard, "k")).collect();
    for key in &keys {
        cluster.set(key, "x");
        let node = cluster.node(1);
        assert_eq!(node.reply(&format!("RMR.EXEC COPY {key} {key} DB 5")), "1");
        assert_eq!(node.reply(&format!("RMR.EXEC MOVE {key} 4")), "1");
        assert_eq!(node.reply(&format!("RMR.EXEC EXISTS {key}")), "0");
        let mut owner = cluster.node(cluster.owner_of(slot_of(key))).wire();
        for database in [4, 5] {
            select(&mut owner, database);
            assert_eq!(owner.reply(&format!("GET {key}")), "\"x\"", "database {database}");
        }
    }
    let refusal = cluster.node(0).reply("RMR.EXEC SELECT 1");
    assert!(refusal.starts_with('-'), "{refusal}");
}
