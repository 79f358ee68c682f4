//! Scripts and functions: a node that lacks one is given it, since a single server would have it.
//!
//! A node that says so has not run anything. Since a script may end in the same words, the node is asked whether it has the
//! script, and the words stand if it does.

use std::sync::Arc;

use super::client_connection::ClientConnection;
use crate::command::Command;
use crate::describe::Description;
use crate::engine::{Request, Targets};
use crate::error::Error;
use crate::reply::Reply;
use crate::topology::Node;

/// The words of a node that does not know a function.
const NO_FUNCTION: &[u8] = b"ERR Function not found";

impl<S> ClientConnection<S> {
    /// Keeps what a command has shown of scripts, once a node has taken it.
    pub(super) fn learn_code(&self, command: &Command, description: &Description, reply: &Reply) {
        let argument = |at: usize| command.words().nth(at);
        match description.name.as_str() {
            "eval" | "eval_ro" if !matches!(reply, Reply::Error(_)) => {
                argument(1).into_iter().for_each(|body| self.state.scripts.keep(body));
            }
            "script|load" if !matches!(reply, Reply::Error(_)) => {
                argument(2).into_iter().for_each(|body| self.state.scripts.keep(body));
            }
            "script|flush" => self.state.scripts.forget(),
            _ => {}
        }
    }

    /// Gives the node of a call the code that it lacks, if the reply says that it does. Returns whether the call is to be
    /// made again. Calls that the user may not make for that are not made.
    pub(super) async fn brings_code(
        &mut self,
        request: &Request,
        command: &Command,
        description: &Arc<Description>,
        reply: &Reply,
    ) -> bool {
        let Reply::Error(words) = reply else { return false };
        let name = command.words().nth(1).unwrap_or_default().to_vec();
        let brought = match description.name.as_str() {
            "evalsha" | "evalsha_ro" if words.starts_with(b"NOSCRIPT") => {
                let Some(body) = self.state.scripts.get(&name) else { return false };
                bring_script(request, command, &name, &body).await
            }
            "fcall" | "fcall_ro" if words.starts_with(NO_FUNCTION) => bring_function(request, command, &name).await,
            _ => return false,
        };
        brought.unwrap_or(false)
    }
}

/// Returns the node that a call has gone to.
async fn node_of(request: &Request, command: &Command) -> Result<Arc<Node>, Error> {
    let topology = request.pinned_topology().await?;
    if command.routing_key().is_some() {
        return request.owner(&topology, command).cloned();
    }
    let shard = topology.data_shards().next().ok_or_else(|| Error::no_node(topology.source()))?;
    Ok(shard.primary.clone())
}

async fn ask(request: &Request, node: &Arc<Node>, question: Command) -> Result<Reply, Error> {
    let replies = request.fan_out(question).targets(Targets::Nodes(vec![node.id.clone()])).await?;
    replies.into_all()?.pop().ok_or_else(|| Error::Topology(format!("{node} gave no answer")))
}

async fn bring_script(request: &Request, command: &Command, sha1: &[u8], body: &[u8]) -> Result<bool, Error> {
    let node = node_of(request, command).await?;
    let has = ask(request, &node, Command::new("SCRIPT").arg("EXISTS").arg(sha1).read_only(true)).await?;
    if has.elements().and_then(<[Reply]>::first).and_then(Reply::integer) != Some(0) {
        return Ok(false);
    }
    ask(request, &node, Command::new("SCRIPT").arg("LOAD").arg(body)).await?;
    Ok(true)
}

/// Takes the library of a function from a node that has it.
async fn bring_function(request: &Request, command: &Command, function: &[u8]) -> Result<bool, Error> {
    let node = node_of(request, command).await?;
    let list = || Command::new("FUNCTION").arg("LIST").arg("WITHCODE").read_only(true);
    if code_of(&ask(request, &node, list()).await?, function).is_some() {
        return Ok(false);
    }
    let lists = request.fan_out(list()).targets(Targets::Primaries).await?;
    let Some(code) = lists.ok().find_map(|list| code_of(list, function)) else { return Ok(false) };
    ask(request, &node, Command::new("FUNCTION").arg("LOAD").arg(&code)).await?;
    Ok(true)
}

/// Returns the code of the library that has a function, from a reply to `FUNCTION LIST WITHCODE`.
fn code_of(libraries: &Reply, function: &[u8]) -> Option<Vec<u8>> {
    let has = |library: &&Reply| {
        let functions = library.field("functions").and_then(Reply::elements).unwrap_or_default();
        functions.iter().any(|own| own.field("name").and_then(Reply::bytes) == Some(function))
    };
    let library = libraries.elements()?.iter().find(has)?;
    library.field("library_code")?.bytes().map(<[u8]>::to_vec)
}
