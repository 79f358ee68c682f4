//! Reads the topology of a cluster from its source: the server that this module runs in.

use crate::command::Command;
use crate::error::Error;
use crate::module::server::context::Ctx;
use crate::module::server::{call, main_thread};
use crate::reply::Reply;
use crate::topology::{AskCluster, BoxFuture, ClusterAnswer};

/// Asks the server that we live in about its cluster.
pub(crate) struct InServer;

impl AskCluster for InServer {
    fn ask(&self, command: Command) -> BoxFuture<'_, Result<ClusterAnswer, Error>> {
        Box::pin(async move {
            // Nodes name ports that depend on the connection of the client that the server serves now, so there must be
            // none; where the caller cannot wait nothing leaves this server, and ports do not matter.
            let at_once = main_thread::with_current(|ctx| ctx.why_not_wait().map(|_| describe(ctx, &command)));
            let (described, own_id) = match at_once.flatten() {
                Some(described) => described,
                None => main_thread::in_turn(move |turn| describe(turn.ctx, &command)).await?,
            };
            match described {
                Reply::Error(message) => {
                    Err(Error::Shard { node: "this node".into(), message: message.into(), key: None })
                }
                reply => Ok(ClusterAnswer { own_id, ..ClusterAnswer::new(reply, "127.0.0.1") }),
            }
        })
    }
}

/// Asks, and reads the server's id in the same moment: `CLUSTER RESET HARD` gives it another.
fn describe(ctx: Ctx<'_>, command: &Command) -> (Reply, Option<String>) {
    (call::run(ctx, command), ctx.cluster_id())
}
