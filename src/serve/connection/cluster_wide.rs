//! Commands that are more than one key's: carried out as `RMR.EXEC` does.

use std::sync::Arc;

use super::client_connection::ClientConnection;
use crate::command::Command;
use crate::describe::Description;
use crate::engine::{Request, Targets};
use crate::error::Error;
use crate::exec::{DescribedCommand, ExecOptions, exec};
use crate::reply::Reply;
use crate::serve::known::{MarkByDescription, keys_of};

impl<S> ClientConnection<S> {
    /// Runs a command on the nodes that it is for, and answers with what their replies come to.
    pub(super) async fn run_cluster_wide(&mut self, command: Command, description: Arc<Description>) {
        let result = self.cluster_wide(command, description).await;
        self.answer(result);
    }

    async fn cluster_wide(&mut self, command: Command, description: Arc<Description>) -> Result<Reply, Error> {
        let mut keys = keys_of(&self.state.engine.request().begin(), &command, &description).await?;
        let gate = Arc::new(MarkByDescription(description.clone()));
        let request = self.request().gate(gate).begin();
        if description.name == "publish" && !request.pinned_topology().await?.has_slots() {
            // Those who have subscribed to the channel are at the server that its name belongs to.
            keys = vec![1];
        }
        let targets = one_for_all(&request, &description, &keys).await?;
        let nonatomic = self.state.options.splits_writes;
        let way_to_split = Some("rmr-proxy --split-writes");
        let how = ExecOptions { targets, nonatomic, way_to_split, ..ExecOptions::default() };
        let described = DescribedCommand::new(command, description, keys);
        let mut result = exec(request.clone(), described.clone(), how.clone()).await;
        if let Ok(reply) = &result {
            let DescribedCommand { command, description, .. } = &described;
            self.learn_code(command, description, reply);
            if self.brings_code(&request, command, description, reply).await {
                result = exec(request, described, how).await;
            }
        }
        result
    }
}

/// Returns the node that answers for all what has nothing to do with data: who the user is, which all links of it know, and of
/// plain servers such as `TIME` or `COMMAND`. `None` for everything else.
async fn one_for_all(request: &Request, description: &Description, keys: &[usize]) -> Result<Option<Targets>, Error> {
    let topology = request.pinned_topology().await?;
    let is_said = description.tip("request_policy").is_some() || description.why_not_cluster_wide().is_some();
    let is_about_data = ["@read", "@write", "@keyspace", "@scripting", "@pubsub"]
        .iter()
        .any(|category| description.categories.iter().any(|own| own == category));
    let is_about_user = description.name == "acl|whoami";
    if !is_about_user && (topology.has_slots() || !keys.is_empty() || is_said || is_about_data) {
        return Ok(None);
    }
    Ok(topology.data_shards().next().map(|shard| Targets::Nodes(vec![shard.primary.id.clone()])))
}
