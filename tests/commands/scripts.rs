//! Scripts in `RMR.BATCH`: sent as they were given, so that they take no other right and leave no more behind than `EVAL`.

use crate::common::Cluster;

#[test]
fn a_script_in_a_batch_takes_the_right_to_eval_and_no_other() {
    let cluster = Cluster::start(2);
    for node in cluster.nodes() {
        node.run::<()>(&["ACL", "SETUSER", "batching", "on", ">secret", "~*", "+@all", "-evalsha", "-script"]);
        node.run::<()>(&["CONFIG", "SET", "rmr.user", "batching"]);
        node.run::<()>(&["CONFIG", "SET", "rmr.password", "secret"]);
    }
    let mut wire = cluster.node(0).wire();
    for shard in [0, 1] {
        let key = cluster.key_for(shard, "k");
        for call in ["EVAL return(7) 1", "eval_ro return(7) 1"] {
            assert_eq!(wire.reply(&format!("RMR.BATCH {key} 1 4 {call} {key}")), format!("[\"{key}\", [7]]"));
        }
        let reply = wire.reply_to(&["RMR.BATCH", &key, "1", "3", "EVAL", "this is not lua", "0"]);
        assert!(reply.contains("-ERR Error compiling script"), "{reply}");
    }
}

#[test]
fn scripts_of_batches_are_not_kept_for_ever() {
    let cluster = Cluster::start(2);
    let keys = [cluster.key_for(0, "k"), cluster.key_for(1, "k")];
    let mut wire = cluster.node(0).wire();
    for number in 0..30 {
        let calls: Vec<String> = (0..50).map(|call| format!("4 EVAL return({}) 1 {{}}", number * 50 + call)).collect();
        for key in &keys {
            wire.reply(&format!("RMR.BATCH {key} 50 {}", calls.join(" ").replace("{}", key)));
        }
    }
    for node in cluster.nodes() {
        assert_eq!(node.calls_of("script|load") + node.calls_of("evalsha"), 0);
        let kept = node.figure("memory", "number_of_cached_scripts");
        // Older servers keep all that they have seen.
        let keeps_all = node.redis_version() < (7, 4) && kept == 1500;
        assert!(kept <= 500 || keeps_all, "{kept}");
    }
}
