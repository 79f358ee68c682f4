//! The engine without a Redis module: a plain tokio program that is a client of plain servers, which know nothing of each
//! other or of rmr. It is decided here who they are and which keys each of them holds.
//!
//! ```text
//! cargo run --package rmr --no-default-features --example client 127.0.0.1:7001 127.0.0.1:7002 127.0.0.1:7003
//! ```

use std::process::ExitCode;
use std::sync::Arc;

use rmr::reduce::Total;
use rmr::shard::ShardFunc;
use rmr::topology::{BoxFuture, Node, NodeProvider, Topology};
use rmr::{Address, Command, Engine, Error, Replies, Step};

/// Provides the nodes: the servers that the command line names.
struct CommandLine(Vec<Address>);

impl NodeProvider for CommandLine {
    fn topology(&self) -> BoxFuture<'_, Result<Topology, Error>> {
        Box::pin(async { Ok(Topology::of_nodes("command line", self.0.iter().cloned())) })
    }
}

/// Tells the server that holds a key: each server has a part of the alphabet.
struct ByFirstLetter;

impl ShardFunc for ByFirstLetter {
    fn node<'t>(&self, topology: &'t Topology, command: &Command) -> Result<&'t Arc<Node>, Error> {
        let key = command.routing_key().unwrap_or_default();
        let letter = key.first().map(u8::to_ascii_lowercase).filter(u8::is_ascii_lowercase);
        let letter = letter.ok_or_else(|| Error::Unroutable("a key begins with a letter".into()))?;
        let shards = topology.shards();
        Ok(&shards[usize::from(letter - b'a') * shards.len() / 26].primary)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(std::env::args().skip(1)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: impl Iterator<Item = String>) -> Result<(), Error> {
    let addresses: Vec<Address> = args.map(|arg| Address::parse(&arg)).collect::<Result<_, _>>()?;
    if addresses.is_empty() {
        return Err(Error::Invalid("usage: client host:port [host:port ...]".into()));
    }
    let engine = Engine::builder().provider(CommandLine(addresses)).shard_func(ByFirstLetter).build();

    // A map: each command goes to the server of its key, all at once.
    let stock = [("apples", 5), ("bananas", 12), ("melons", 2), ("pears", 7), ("zucchini", 4)];
    let sets = stock.map(|(fruit, count)| Command::new("SET").key(fruit).arg(count));
    engine.map(sets).await?;

    // A map with a reducer: one value comes of all replies.
    let gets = stock.map(|(fruit, _)| Command::new("GET").key(fruit));
    println!("in stock: {}", engine.map(gets).reduce(sum).await?);

    // A fan-out: one command to all servers. Replies say where they come from.
    for shard in engine.fan_out(Command::new("DBSIZE")).await? {
        println!("{} holds {} keys", shard.node, shard.result?);
    }

    // A request of two steps: the reducer of the first starts the second.
    let gets = stock.map(|(fruit, _)| Command::new("GET").key(fruit));
    let ordered = engine.map(gets).reduce(move |counts: Replies| {
        let scarce = stock.iter().zip(counts.integers()).filter(|(_, count)| *count < 5);
        let orders = scarce.map(|((fruit, _), _)| Command::new("INCRBY").key(fruit).arg(10));
        Ok(Step::map(orders, sum))
    });
    println!("in stock of what was scarce, after ordering: {}", ordered.await?);
    Ok(())
}

/// Adds up the replies. A reducer is any closure or function of this kind.
fn sum(replies: Replies) -> Result<Step, Error> {
    let mut total = Total::default();
    replies.numbers().for_each(|number| total.add(number));
    Ok(Step::reply(total.finish()?))
}
