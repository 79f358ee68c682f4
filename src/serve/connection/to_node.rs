//! Finding the node of a command that goes to one node only, and a connection to it.

use std::sync::Arc;

use super::client_connection::ClientConnection;
use super::node_connection::{NodeConnection, apart};
use crate::command::{Command, printable};
use crate::engine::Request;
use crate::error::Error;
use crate::topology::{Node, Topology};

impl<S> ClientConnection<S> {
    /// Returns a connection to a node that nobody else uses: the one that was used last, if it is to this node.
    ///
    /// # Errors
    /// If the node cannot be reached.
    pub(super) async fn connect(&mut self, request: &Request, node: &Arc<Node>) -> Result<NodeConnection, Error> {
        if let Some(idle) = self.idle.take_if(|idle| idle.node.id == node.id)
            && idle.session.is_sound()
        {
            return Ok(idle);
        }
        Ok(NodeConnection { node: node.clone(), session: request.session(node).await? })
    }

    /// Returns the node for all these keys of a command.
    ///
    /// # Errors
    /// If they are not all one node's, or one slot's.
    pub(super) fn node_of_keys<'t>(
        &self,
        request: &Request,
        topology: &'t Topology,
        command: &Command,
        keys: &[usize],
    ) -> Result<Option<&'t Arc<Node>>, Error> {
        let args: Vec<&[u8]> = command.words().collect();
        let mut groups = keys.iter().map(|&at| request.key_group(topology, args[at]));
        let Some(first) = groups.next().transpose()? else { return Ok(None) };
        for group in groups {
            if group? != first {
                let name = printable(&command.name().to_ascii_uppercase());
                return Err(apart(topology, &format!("{name} works on all its keys at once")));
            }
        }
        let mut routed = command.clone();
        routed.route_by_argument(keys[0]);
        request.owner(topology, &routed).map(Some)
    }
}
