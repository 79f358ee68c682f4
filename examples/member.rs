//! A pool of workers that share work, and may be killed at any time: each job belongs to a slot, each slot to one worker.
//!
//! ```text
//! cargo run --example member --features placement -- work redis://127.0.0.1:6379 worker-1
//! cargo run --example member --features placement -- work redis://127.0.0.1:6379 worker-2
//! cargo run --example member --features placement -- push redis://127.0.0.1:6379 "100 apples" "200 pears"
//! ```
//!
//! A job is a text that begins with the milliseconds that it takes. It waits in the list `jobs:SLOT`, and is counted in the hash
//! `done`. Ctrl-C or SIGTERM make a worker leave; `kill -9` does no harm either.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use rmr::placement::member::{Event, Member, MemberOptions};
use rmr::placement::slot::{SlotFunc, SlotHash};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep};

/// The number of slots: more than there will ever be workers, by far.
const SLOTS: u16 = 64;

/// The pause after which a worker looks for new jobs.
const ROUND: Duration = Duration::from_millis(20);

/// The time that a worker that leaves waits for others to take its slots over.
const FAREWELL: Duration = Duration::from_secs(10);

/// Counts a job as done and takes it off its list, if nobody has come with a higher token meanwhile.
const COMMIT: &str = "
    local token, fence = tonumber(ARGV[2]), tonumber(redis.call('HGET', 'fences', ARGV[1]) or '0')
    if token < fence then return 'refused' end
    redis.call('HSET', 'fences', ARGV[1], ARGV[2])
    if redis.call('LREM', KEYS[1], 1, ARGV[3]) == 0 then return 'gone' end
    redis.call('HINCRBY', 'done', ARGV[3], 1)
    return 'done'";

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["push", urls, jobs @ ..] => push(urls, jobs).await,
        ["work", urls, id] => work(options(urls, id)?, urls).await,
        ["work", urls, id, timeout, copies] => {
            let timeout = Duration::from_millis(timeout.parse()?);
            work(options(urls, id)?.timeout(timeout).copies(copies.parse()?), urls).await
        }
        _ => Err("usage: member work URL[,URL] ID [TIMEOUT-MS COPIES] | member push URL JOB...".into()),
    }
}

fn options(urls: &str, id: &str) -> Outcome<MemberOptions> {
    Ok(MemberOptions::new(id, urls.split(',')).name("pool").slots(slots()?))
}

fn slots() -> Outcome<SlotFunc> {
    Ok(SlotFunc::new(SlotHash::Sha1, SLOTS)?)
}

/// Connects to where the jobs are: for the example that is the first address of the configuration node.
async fn connect(urls: &str) -> Outcome<MultiplexedConnection> {
    let url = urls.split(',').next().unwrap_or_default();
    Ok(redis::Client::open(url)?.get_multiplexed_async_connection().await?)
}

/// Puts jobs into the lists of their slots.
async fn push(urls: &str, jobs: &[&str]) -> Outcome<()> {
    let mut server = connect(urls).await?;
    for job in jobs {
        let list = format!("jobs:{}", slots()?.slot(job.as_bytes()));
        redis::cmd("RPUSH").arg(list).arg(job).query_async::<i64>(&mut server).await?;
    }
    Ok(())
}

/// Is a worker until it is told to end.
async fn work(options: MemberOptions, urls: &str) -> Outcome<()> {
    let server = connect(urls).await?;
    let member = Arc::new(Member::join(options).await?);
    println!("{} is there", member.id());

    let mut busy: HashMap<u16, JoinHandle<()>> = HashMap::new();
    let mut round = interval(ROUND);
    let (mut ended, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    loop {
        tokio::select! {
            Some(event) = member.next_event() => follow(&member, event).await,
            _ = round.tick() => {
                busy.retain(|_, jobs| !jobs.is_finished());
                for slot in member.primaries().into_keys() {
                    busy.entry(slot).or_insert_with(|| tokio::spawn(do_jobs(member.clone(), server.clone(), slot)));
                }
            }
            _ = ended.recv() => break,
            _ = interrupted.recv() => break,
        }
    }
    let left = member.leave(FAREWELL).await?;
    println!("left {} slots short", left.short.len());
    Ok(())
}

/// Does what the member is told. An error means that it is told again, or has lost the slot.
async fn follow(member: &Member, event: Event) {
    match event {
        Event::Missing(slots) => {
            for slot in slots {
                // A real worker would load here what it needs for the jobs of the slot.
                if let Err(error) = member.ready(slot).await {
                    println!("slot {slot} is not ready: {error}");
                }
            }
        }
        Event::Redundant(slots) => {
            for slot in slots {
                if member.release(slot).await.is_ok_and(|release| release.is_done()) {
                    // And drop it here.
                    println!("slot {slot} is released");
                }
            }
        }
        Event::Lost(slots) => println!("slots {slots:?} are lost"),
        _ => {}
    }
}

/// Does the jobs of a slot, the oldest first, as long as there are any and this worker is the primary.
async fn do_jobs(member: Arc<Member>, mut server: MultiplexedConnection, slot: u16) {
    let list = format!("jobs:{slot}");
    while let Some(token) = member.primary_token(slot) {
        let first = redis::cmd("LINDEX").arg(&list).arg(0).query_async::<Option<String>>(&mut server).await;
        let Ok(Some(job)) = first else { return };
        println!("'{job}' begins");
        let length = job.split(' ').next().and_then(|length| length.parse().ok());
        sleep(Duration::from_millis(length.unwrap_or_default())).await;

        // This process may have been stopped meanwhile, for however long. The token says as of when it knows that the slot
        // is its own, and the server refuses it if others have gone on.
        let mut commit = redis::cmd("EVAL");
        commit.arg(COMMIT).arg(1).arg(&list).arg(slot).arg(token).arg(&job);
        match commit.query_async::<String>(&mut server).await {
            Ok(outcome) => println!("'{job}' is {outcome}"),
            Err(error) => println!("'{job}' may be done or not: {error}"),
        }
    }
}
