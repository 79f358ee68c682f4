//! A guard that holds for a plain command holds for the same command by any road that runs it in process.

mod loading;
mod memory;
mod pause;
mod replica;
mod shards;
mod writes;

use std::fs;
use std::time::Duration;

use crate::common::{Server, Wire, eventually};

const NOREPLICAS: &str = "NOREPLICAS Not enough good replicas to write.";

/// Has a snapshot fail, after which the server refuses writes. Returns the folder that it was to be in before.
fn fail_to_save(node: &Server) -> String {
    let dir = node.dir().join("gone");
    fs::create_dir(&dir).expect("a folder");
    let before: Vec<String> = node.run(&["CONFIG", "GET", "dir"]);
    node.run::<()>(&["CONFIG", "SET", "dir", dir.to_str().expect("a name")]);
    fs::remove_dir_all(&dir).expect("an empty folder");
    node.run::<()>(&["CONFIG", "SET", "save", "3600 1"]);
    node.run::<()>(&["BGSAVE"]);
    eventually(Duration::from_secs(10), "the snapshot fails", || {
        node.run::<String>(&["INFO", "persistence"]).contains("rdb_last_bgsave_status:err")
    });
    before[1].clone()
}

/// Returns a connection that is served in proxy mode, where the server can have that.
fn proxied(node: &Server) -> Option<Wire> {
    node.try_run::<()>(&["CONFIG", "SET", "rmr.proxy-mode", "opt-in"]).ok()?;
    let mut wire = node.wire();
    // Refused while data is loaded.
    let _ = wire.reply("RMR.PROXY ON");
    Some(wire)
}

/// Returns one command by the roads by which a node serves it in process.
fn roads(node: &Server, key: &str, command: &str) -> Vec<String> {
    let words = command.split_whitespace().count();
    let in_multi = {
        let mut wire = node.wire();
        assert_eq!(wire.reply("MULTI"), "+OK");
        // Redis 7.0 refuses already here when memory is full.
        match wire.reply(&format!("RMR.EXEC {command}")).as_str() {
            "+QUEUED" => wire.reply("EXEC"),
            refusal => refusal.to_owned(),
        }
    };
    let lines = [
        format!("RMR.EXEC {command}"),
        format!("RMR.EXEC NODE {} {command}", node.address()),
        format!("RMR.FANOUT NODE {} {command}", node.address()),
        format!("RMR.FANOUT NODE {} REDUCE COUNT {command}", node.address()),
        format!("RMR.MAP LIST 1 {key} {}", command.replace(key, "{}")),
        format!("RMR.MAP COUNT 1 {key} {}", command.replace(key, "{}")),
        format!("RMR.BATCH {key} 1 {words} {command}"),
    ];
    let mut replies: Vec<String> = lines.iter().map(|line| format!("{line}: {}", node.reply(line))).collect();
    replies.push(format!("MULTI RMR.EXEC {command}: {in_multi}"));
    replies.extend(proxied(node).map(|mut wire| format!("proxy {command}: {}", wire.reply(command))));
    replies
}
