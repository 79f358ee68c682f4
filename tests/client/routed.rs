//! One command at a time: to the host of its one key, or refused with the reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::common::Cluster;
use rmr::shard::{Crc32Partition, ShardFunc};
use rmr::testing::Servers;
use rmr::topology::{Node, Topology};
use rmr::{Address, Client, Command, Engine, Error, StaticList};

use crate::figures::{ask, calls, command};

async fn refusal(client: &Client, line: &str) -> String {
    match client.execute(command(line)).await {
        Err(error @ Error::Unroutable(_)) => error.to_string(),
        other => panic!("{line}: {other:?}"),
    }
}

#[tokio::test]
async fn a_command_goes_to_the_host_of_its_key() {
    let servers = Servers::start(3);
    let client = servers.client();
    for (key, host) in [("foo", 1), ("bar", 2), ("baz", 0)] {
        assert_eq!(client.execute(command(&format!("INCR {key}"))).await.unwrap().integer(), Some(1));
        assert_eq!(client.execute(command(&format!("get {key}"))).await.unwrap().to_string(), "1");
        assert_eq!(ask(servers.host(host), &format!("GET {key}")).to_string(), "1", "{key} is on host {host}");
        assert_eq!(client.host_of(key).await.unwrap(), host);
    }
    let asked = calls(&servers, "command|info");
    assert!((2..=6).contains(&asked), "two names, each once, of up to three servers: {asked}");
}

#[tokio::test]
async fn what_belongs_to_no_single_host_is_refused_with_the_reason() {
    let servers = Servers::start(2);
    let client = servers.client();
    for line in ["MGET a b c", "DEL a b", "PFCOUNT a b", "EXISTS a b", "BRPOP a b 0", "SORT k STORE d", "ZUNION 2 a b"]
    {
        let refusal = refusal(&client, line).await;
        assert!(refusal.contains(" keys, each of which may be on another host"), "{line}: {refusal}");
    }
    for line in ["DBSIZE", "PING", "INFO", "CONFIG GET save", "EVAL return 0", "ZUNION 0", "GET", "XREAD COUNT 1"] {
        let refusal = refusal(&client, line).await;
        assert!(refusal.contains("no key"), "{line}: {refusal}");
    }
    for line in ["UNKNOWN", "UNKNOWN a", "GETT a"] {
        let refusal = refusal(&client, line).await;
        assert!(refusal.starts_with("the servers do not know '"), "{line}: {refusal}");
    }
    assert_eq!(crate::figures::keys(&servers), 0, "nothing was sent");
}

#[tokio::test]
async fn keys_are_where_the_server_says_they_are() {
    let servers = Servers::start(3);
    let client = servers.client();
    let run = async |line: &str| client.execute(command(line)).await.map(|reply| reply.to_string());
    assert_eq!(run("DEL a").await.unwrap(), "0", "one key is one key");
    assert_eq!(run("RPUSH foo 3 1 2").await.unwrap(), "3");
    assert_eq!(run("SORT foo").await.unwrap(), "[1, 2, 3]");
    assert_eq!(run("LMOVE foo foo LEFT RIGHT").await.unwrap(), "3", "the same key twice is one key");
    assert!(!run("OBJECT ENCODING foo").await.unwrap().is_empty());
    assert!(!run("MEMORY USAGE foo").await.unwrap().is_empty());
    assert_eq!(run("XADD stream 1-1 f v").await.unwrap(), "1-1");
    assert!(run("XREAD COUNT 1 STREAMS stream 0").await.unwrap().contains("1-1"));
    assert!(run("XINFO STREAM stream").await.is_ok());
    assert_eq!(run("GEOADD geo 1 2 x").await.unwrap(), "1");
    assert!(run("GEORADIUS geo 1 2 5 km").await.unwrap().contains('x'));
    assert_eq!(run("ZADD z 1 a").await.unwrap(), "1");
    assert!(run("ZUNION 1 z").await.unwrap().contains('a'));
    let eval = Command::new("EVAL").arg("return redis.call('TYPE', KEYS[1])").arg(1).arg("z");
    assert_eq!(client.execute(eval).await.unwrap().to_string(), "zset");
    let bytes = Command::new("SET").arg(b"\0\xff\r\n").arg(b"\r\n\0");
    client.execute(bytes).await.unwrap();
    let host = client.host_of(b"\0\xff\r\n").await.unwrap();
    let value = servers.host(host).call(Command::new("GET").arg(b"\0\xff\r\n")).unwrap();
    assert_eq!(value.bytes(), Some(&b"\r\n\0"[..]));
}

#[tokio::test]
async fn a_command_that_blocks_has_a_connection_to_itself() {
    let servers = Servers::start(3);
    let client = servers.client();
    client.execute(command("RPUSH foo one")).await.unwrap();
    assert_eq!(client.execute(command("BLPOP foo 0")).await.unwrap().to_string(), "[foo, one]");

    // A task that waits keeps nobody else waiting, and is woken.
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.execute(command("BLPOP foo 0")).await }
    });
    let blocked = || ask(servers.host(1), "INFO clients").to_string().contains("blocked_clients:1");
    while !blocked() {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.execute(command("INCR foo:2")).await.unwrap().integer(), Some(1));
    client.execute(command("RPUSH foo two")).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().to_string(), "[foo, two]");

    let began = Instant::now();
    let error = client.clone().timeout(Duration::from_millis(200)).execute(command("BLPOP foo 0")).await.unwrap_err();
    assert!(matches!(&error, Error::Timeout { outcome_unknown: true, .. }), "{error}");
    assert!((200..1000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    rmr::testing::eventually(Duration::from_secs(5), "the server knows that nobody waits", || !blocked());
    client.execute(command("RPUSH foo three")).await.unwrap();
    assert_eq!(
        client.execute(command("LLEN foo")).await.unwrap().integer(),
        Some(1),
        "nothing was lost to the one gone"
    );
}

#[tokio::test]
async fn an_error_is_the_servers_and_leaves_the_connection_as_it_was() {
    let servers = Servers::start(2);
    let client = servers.client();
    for _ in 0..20 {
        let error = client.execute(command("SADD key")).await.unwrap_err();
        assert!(error.to_string().contains("wrong number of arguments"), "{error}");
    }
    assert_eq!(client.execute(command("SADD key x")).await.unwrap().integer(), Some(1));
    let mut connects = 0;
    client.engine().each_link(|_, link| connects += link.stats().connects.load(std::sync::atomic::Ordering::Relaxed));
    assert!(connects <= 2, "{connects} connections to two hosts");
}

#[tokio::test]
async fn a_redis_cluster_is_served_as_well() {
    let cluster = Cluster::builder().module(false).start();
    let seeds = vec![Address::parse(&cluster.node(0).address()).unwrap()];
    let client = Client::new(Engine::builder().cluster(seeds).build());
    for shard in 0..3 {
        let key = cluster.key_for(shard, "key");
        client.execute(Command::new("SET").arg(&key).arg(shard)).await.unwrap();
        assert_eq!(cluster.node(shard).run::<usize>(&["GET", &key]), shard);
        assert_eq!(client.host_of(&key).await.unwrap(), shard);
    }
    let list = cluster.key_for(2, "list");
    client.execute(Command::new("RPUSH").arg(&list).arg("x")).await.unwrap();
    let popped = client.execute(Command::new("BLPOP").arg(&list).arg(1)).await.unwrap();
    assert_eq!(popped.elements().unwrap()[1].to_string(), "x");
}

/// A shard function that says whatever it is told to.
struct Says(Saying);

type Saying = fn(&mut dyn FnMut(usize));

impl ShardFunc for Says {
    fn node<'t>(&self, topology: &'t Topology, _command: &Command) -> Result<&'t Arc<Node>, Error> {
        Ok(&topology.shards()[1].primary)
    }

    fn shards_of_keys(
        &self,
        _topology: &Topology,
        keys: &mut dyn Iterator<Item = &[u8]>,
        put: &mut dyn FnMut(usize),
    ) -> Option<Result<(), Error>> {
        if keys.count() == 1 {
            return None;
        }
        (self.0)(put);
        Some(Ok(()))
    }
}

#[tokio::test]
async fn a_shard_function_of_ones_own_places_keys_together_or_alone() {
    let servers = Servers::start(2);
    let list: Vec<String> = servers.iter().map(|server| server.address().to_string()).collect();
    let engine = |says: Saying| {
        Engine::builder().provider(StaticList::parse(&list.join(" ")).unwrap()).shard_func(Says(says)).build()
    };
    let sets = |count: usize| (0..count).map(|number| Command::new("SET").key(format!("k{number}")).arg(number));
    let sent = async |says, count| engine(says).map(sets(count)).await.map(|replies| replies.len());
    assert_eq!(sent(|_| {}, 1).await.unwrap(), 1, "a single key is placed by its whole command");
    assert_eq!(
        (ask(servers.host(0), "DBSIZE").integer(), ask(servers.host(1), "DBSIZE").integer()),
        (Some(0), Some(1))
    );
    assert_eq!(sent(|put| [1, 0, 0].into_iter().for_each(put), 3).await.unwrap(), 3);
    assert_eq!(
        (ask(servers.host(0), "DBSIZE").integer(), ask(servers.host(1), "DBSIZE").integer()),
        (Some(2), Some(1))
    );
    let misplaces: [Saying; 2] = [|put| [0, 7, 0].into_iter().for_each(put), |put| [0, 1].into_iter().for_each(put)];
    for says in misplaces {
        let error = sent(says, 3).await.unwrap_err().to_string();
        assert_eq!(error, "the shard function has placed 2 of 3 keys on one of the 2 shards");
    }
    let error = sent(|_| panic!("oh"), 3).await.unwrap_err().to_string();
    assert_eq!(error, "the shard function panicked: oh");
}

/// Places by CRC-32, and counts the keys that it is asked for.
struct Counting(Arc<AtomicUsize>);

impl ShardFunc for Counting {
    fn node<'t>(&self, topology: &'t Topology, command: &Command) -> Result<&'t Arc<Node>, Error> {
        self.0.fetch_add(1, Relaxed);
        Crc32Partition.node(topology, command)
    }

    fn shards_of_keys(
        &self,
        topology: &Topology,
        keys: &mut dyn Iterator<Item = &[u8]>,
        put: &mut dyn FnMut(usize),
    ) -> Option<Result<(), Error>> {
        let mut counted = keys.inspect(|_| {
            self.0.fetch_add(1, Relaxed);
        });
        Crc32Partition.shards_of_keys(topology, &mut counted, put)
    }
}

#[tokio::test]
async fn each_command_of_a_mapping_is_placed_once() {
    let servers = Servers::start(3);
    let list: Vec<String> = servers.iter().map(|server| server.address().to_string()).collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let provider = StaticList::parse(&list.join(" ")).unwrap();
    let engine = Engine::builder().provider(provider).shard_func(Counting(asked.clone())).build();
    let client = Client::new(engine).auto_batch(false);
    let incrs = || (0..100).map(|number| Command::new("INCR").arg(format!("k{number}")));
    let results = client.execute_all(incrs()).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(asked.load(Relaxed), 100);
    let mut map = client.map();
    let numbers: Vec<_> = incrs().map(|incr| map.send(incr)).collect();
    map.send_to_host(1, Command::new("PING"));
    map.join().await;
    assert!(numbers.iter().all(|number| number.value().and_then(|reply| reply.integer()) == Some(2)));
    // A command for a host of its own choice has no key, and is placed with the others all the same.
    assert_eq!(asked.load(Relaxed), 201);
}
