//! A guard that holds for a plain command holds for the same command by any road that runs it in process.

mod memory;
mod pause;
mod replica;
mod writes;

use crate::common::Server;

/// One command by the roads by which a node serves it in process.
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
    replies
}
