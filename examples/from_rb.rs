//! Does with rmr what a program does with the Python library rb; `docs/how-to/from-rb.md` goes through it call by call.
//!
//! ```text
//! cargo run --package rmr --no-default-features --example from_rb 127.0.0.1:7001 127.0.0.1:7002 127.0.0.1:7003
//! ```

use std::process::ExitCode;
use std::time::Duration;

use rmr::client::{Action, Promise, Script};
use rmr::{Client, Command, Engine, Error, StaticList};

#[tokio::main]
async fn main() -> ExitCode {
    let hosts: Vec<String> = std::env::args().skip(1).collect();
    match run(&hosts.join(" ")).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(hosts: &str) -> Result<(), Error> {
    let engine = Engine::builder().provider(StaticList::parse(hosts)?).build();
    let client = Client::new(engine);

    client.execute(Command::new("SET").arg("foo").arg(1)).await?;
    let value = client.execute(Command::new("GET").arg("foo")).await?;
    println!("foo is {value}");

    match client.execute(Command::new("DEL").arg("a").arg("b")).await {
        Err(Error::Unroutable(why)) => println!("refused: {why}"),
        other => println!("{other:?}"),
    }

    let mut map = client.map();
    let results: Vec<(&str, Promise<_>)> =
        ["foo", "bar", "baz"].map(|key| (key, map.send(Command::new("GET").arg(key)))).into();
    map.join().await;
    for (key, promise) in results {
        match promise.outcome() {
            Some(Ok(value)) => println!("{key}: {value}"),
            failed => println!("{key}: {failed:?}"),
        }
    }

    let mut map = client.map().timeout(Duration::from_millis(500)).max_concurrency(8).auto_batch(false);
    let doubled = map.send(Command::new("GET").arg("foo")).then(|reply| Ok(reply.integer().unwrap_or(0) * 2));
    map.join().await;
    println!("twice foo is {}", doubled.await?);

    let gets = (0..3).map(|number| Command::new("GET").arg(format!("key:{number}")));
    for value in client.execute_all(gets).await {
        println!("{}", value?);
    }

    let mut map = client.map();
    map.send(Command::new("SET").arg("foo").arg(2));
    map.cancel();

    client.mset([("a", "1"), ("b", "2"), ("c", "3")]).await?;
    let values = client.mget(["c", "b", "a"]).await?;
    println!("{} values", values.len());

    for (host, size) in client.fan_out(Command::new("DBSIZE")).await? {
        println!("host {host} has {} keys", size?);
    }
    let some = client.fan_out_to([0, 1], Command::new("PING")).await?;
    println!("{} hosts answered", some.values().filter(|result| result.is_ok()).count());

    let mut map = client.map();
    let sizes = map.send_to_all(Command::new("DBSIZE"));
    let first = map.send_to_host(0, Command::new("DBSIZE"));
    let foos = map.send_to_key("foo", Command::new("DBSIZE"));
    map.join().await;
    println!("{} hosts, {} keys on the first, {} beside foo", sizes.await?.len(), first.await?, foos.await?);

    let info = client.execute_on_host(0, Command::new("INFO").arg("server")).await?;
    let size = client.execute_on_host_of("foo", Command::new("DBSIZE")).await?;
    println!("{} bytes about host 0; host {} has {size} keys", info.to_string().len(), client.host_of("foo").await?);

    let script = Script::new("return {KEYS, ARGV}");
    let results = client
        .execute_commands([
            ("foo", vec![Action::from(Command::new("SET").arg("foo").arg(1)), script.call(["foo"], 0..3).into()]),
            ("bar", vec![script.call(["bar"], 3..6).into()]),
        ])
        .await;
    for (key, results) in results {
        println!("{key}: {:?}", results.into_iter().collect::<Result<Vec<_>, _>>()?);
    }

    let promise = Promise::new();
    let all = Promise::all([promise.clone(), Promise::resolved(2)]);
    promise.resolve(1)?;
    println!("{:?}, {:?}", all.value(), promise.reject(Error::Invalid("too late".into())).is_err());
    Ok(())
}
