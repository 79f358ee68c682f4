//! Nodes that cannot serve a command now: `TRYAGAIN`, `CLUSTERDOWN`, `LOADING`, `READONLY`, and a local node that cannot
//! serve it in process.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::fake::*;
use crate::engine::to_nodes::Said;
use crate::engine::{Options, Replies, Targets};
use crate::error::Error;
use crate::link::NOT_IN_PROCESS;
use crate::reply::Reply;
use crate::topology::Role;

const TRYAGAIN: &str = "TRYAGAIN Multiple keys request during rehashing of slot";
const READONLY: &str = "READONLY You can't write against a read only replica.";

fn one(replies: Result<Replies, Error>) -> Result<Reply, String> {
    let mut replies = replies.and_then(Replies::into_all).map_err(|error| error.to_string())?;
    Ok(replies.pop().unwrap())
}

#[tokio::test(start_paused = true)]
async fn tryagain_is_waited_out_with_pauses_that_double() {
    let fake = Fake::of([halves()]);
    fake.node(1).plays((0..8).map(|_| error(TRYAGAIN)));
    let start = Instant::now();
    assert_eq!(one(fake.request().map([set(BAR)]).await), Ok(Reply::Integer(1)));
    let times = fake.node(1).times(start);
    let pauses: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // 5, 10, 20, 40, 80, 100 and so on; but refreshes are 50 ms apart at least, and take one here.
    assert_eq!(pauses, [51, 51, 51, 51, 81, 101, 101, 101]);
}

#[tokio::test(start_paused = true)]
async fn tryagain_until_the_deadline_is_the_error() {
    let fake = Fake::of([halves()]);
    fake.node(1).always(|| error(TRYAGAIN));
    let start = Instant::now();
    let map = fake.engine.map([set(BAR)]).timeout(Duration::from_secs(3));
    assert!(one(map.await).unwrap_err().contains(TRYAGAIN));
    assert!((2800..=3000).contains(&ms(start)), "{}", ms(start));
    assert!(fake.node(1).sent().len() > 20);
}

#[tokio::test(start_paused = true)]
async fn tryagain_is_handed_back_to_whoever_wants_it() {
    let fake = Fake::of([halves()]);
    fake.node(1).always(|| error(TRYAGAIN));
    let replies = fake.request().map([get(BAR)]).with_options(Options::keeping_failures(true)).await.unwrap();
    assert!(replies.errors().next().unwrap().1.to_string().contains(TRYAGAIN));
    assert_eq!(fake.node(1).sent().len(), 1);
    let map =
        fake.engine.map([get(BAR)]).with_options(Options::keeping_failures(false)).timeout(Duration::from_secs(1));
    assert_eq!(map.await.unwrap().errors().count(), 1);
    assert!(fake.node(1).sent().len() > 5);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_down_is_waited_for() {
    for refusal in [
        "CLUSTERDOWN Hash slot not served",
        "CLUSTERDOWN The cluster is down",
        "LOADING Redis is loading the dataset in memory",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    ] {
        let fake = Fake::of([halves()]);
        fake.node(1).plays([error(refusal), error(refusal)]);
        assert_eq!(one(fake.request().map([set(BAR)]).await), Ok(Reply::Integer(1)), "{refusal}");
        assert_eq!((fake.node(1).sent().len(), fake.fetches()), (3, 3), "{refusal}");
        assert_eq!(fake.engine.stats().retries.load(Relaxed), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_script_that_begins_alike_is_an_answer() {
    let fake = Fake::of([halves()]);
    for refusal in ["CLUSTERDOWN of mine", "LOADING of mine", "TRYAGAIN of mine", "READONLY of mine"] {
        fake.node(1).plays([error(refusal)]);
        assert!(one(fake.request().map([get(BAR)]).await).unwrap_err().contains(refusal));
    }
    assert_eq!(fake.node(1).sent().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_became_a_replica_is_looked_for_anew() {
    let fake = Fake::of([halves(), cluster(&[(3, (0, 8191)), (2, (8192, 16383))])]);
    fake.node(1).plays([error(READONLY)]);
    assert_eq!(one(fake.request().map([set(BAR)]).await), Ok(Reply::Integer(3)));
    assert_eq!((fake.node(1).sent().len(), fake.fetches()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_stays_a_replica_is_an_error_after_three_retries() {
    let fake = Fake::of([halves()]);
    fake.node(1).always(|| error(READONLY));
    assert!(one(fake.request().map([set(BAR)]).await).unwrap_err().contains("READONLY"));
    assert_eq!(fake.node(1).sent().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_named_node_that_is_a_replica_is_an_error_at_once() {
    let fake = Fake::of([halves()]);
    fake.node(1).always(|| error(READONLY));
    let targets = Targets::Nodes(vec!["10.0.0.1:1".into()]);
    assert!(one(fake.request().fan_out(set(BAR)).targets(targets).await).unwrap_err().contains("READONLY"));
    assert_eq!(fake.node(1).sent().len(), 1);
    // As the primary of its shard it is whichever node is that.
    fake.shows([cluster(&[(3, (0, 8191)), (2, (8192, 16383))])]);
    let replies = fake.request().fan_out(set(BAR)).await.unwrap();
    assert_eq!(replies.integers().collect::<Vec<_>>(), [3, 2]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_served_in_process_goes_over_the_socket() {
    let fake = Fake::of([halves().with_local("10.0.0.1:1")]);
    fake.local().plays([error(std::str::from_utf8(NOT_IN_PROCESS).unwrap())]);
    let start = Instant::now();
    assert_eq!(one(fake.request().map([set(BAR)]).await), Ok(Reply::Integer(1)));
    assert_eq!((fake.local().sent().len(), fake.node(1).sent().len(), ms(start)), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_waited_for_where_nothing_may_leave_the_process() {
    let whole = cluster(&[(1, (0, 16383))]).with_local("10.0.0.1:1");
    let fake = Fake::of([whole]);
    let request = || fake.engine.request().in_process_only("in MULTI");
    assert_eq!(one(request().map([get(BAR)]).await), Ok(Reply::Integer(100)));
    fake.local().always(|| error(TRYAGAIN));
    let start = Instant::now();
    assert!(one(request().map([get(BAR)]).await).unwrap_err().contains(TRYAGAIN));
    assert_eq!((ms(start), fake.local().sent().len()), (0, 2));
    // The rest of the cluster is out of reach, before anything is sent.
    let fake = Fake::of([halves().with_local("10.0.0.1:1")]);
    let error = one(fake.engine.request().in_process_only("in MULTI").map([get(BAR), get(FOO)]).await).unwrap_err();
    assert!(error.contains("in MULTI; this one needs 10.0.0.1:2"), "{error}");
    assert!(fake.local().sent().is_empty() && fake.node(2).sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_redirect_does_not_leave_the_process_either() {
    let fake = Fake::of([halves().with_local("10.0.0.1:1")]);
    fake.local().plays([moved(2)]);
    let error = one(fake.engine.request().in_process_only("in MULTI").map([get(BAR)]).await).unwrap_err();
    assert!(error.contains("in MULTI; this one needs 10.0.0.1:2"), "{error}");
    assert!(fake.node(2).sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn whoever_finds_the_way_alone_is_told_all_and_nothing_is_sent_twice() {
    let fake = Fake::of([halves()]);
    fake.engine.refresh().await.unwrap();
    let (first, second) = (node(1, Role::Primary), node(2, Role::Primary));
    let ask = async |turn| {
        fake.node(1).plays([turn]);
        fake.request().at_nodes(vec![(first.clone(), get(BAR))], false).await.unwrap().pop().unwrap()
    };
    assert!(matches!(ask(ok(7)).await, Said::Reply(Reply::Integer(7))));
    assert!(matches!(ask(moved(2)).await, Said::Moved(Some(to)) if to.id == second.id));
    assert!(matches!(ask(error("ASK 5061 10.0.0.1:9")).await, Said::Ask(None)));
    assert!(matches!(ask(error(TRYAGAIN)).await, Said::NotNow(Error::Shard { .. })));
    assert!(matches!(
        ask(error("LOADING Redis is loading the dataset in memory")).await,
        Said::NotNow(Error::Shard { .. })
    ));
    assert!(matches!(ask(lost()).await, Said::NotNow(Error::Node { .. })));
    assert!(matches!(ask(error("ERR no")).await, Said::Failed(_)));
    assert_eq!((fake.node(1).sent().len(), fake.node(2).sent().len()), (7, 0));
}

/// The words of servers that scripts may use too.
const WORDS: [&str; 6] = [
    TRYAGAIN,
    READONLY,
    "CLUSTERDOWN Hash slot not served",
    "LOADING Redis is loading the dataset in memory",
    "MOVED 5061 10.0.0.1:2",
    "ASK 5061 10.0.0.1:2",
];

fn eval() -> crate::command::Command {
    crate::command::Command::new("EVAL").arg("body").arg(1).key(BAR)
}

#[tokio::test(start_paused = true)]
async fn what_a_script_says_is_the_answer_however_it_sounds() {
    for words in WORDS {
        let fake = Fake::of([halves()]);
        fake.node(1).plays([error(words)]);
        let start = Instant::now();
        assert!(one(fake.request().map([eval()]).await).unwrap_err().contains(words));
        // The script, and the question whether the node refuses it.
        assert_eq!((fake.node(1).sent().len(), fake.node(2).sent().len(), ms(start)), (2, 0, 0), "{words}");
        let fake = Fake::that_reduces([halves().with_local("10.0.0.1:1")]);
        fake.local().plays([error(words)]);
        assert!(one(fake.request().map([eval()]).await).unwrap_err().contains(words));
        assert_eq!((fake.local().sent().len(), fake.node(1).sent().len()), (1, 0), "{words}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_script_that_was_refused_goes_where_the_node_sends_it() {
    for words in WORDS {
        let fake = Fake::of([halves()]);
        fake.node(1).plays([error(words), error("MOVED 5061 10.0.0.1:2")]);
        assert_eq!(one(fake.request().map([eval()]).await), Ok(Reply::Integer(2)), "{words}");
        assert_eq!((fake.node(1).sent().len(), fake.node(2).sent().len()), (2, 1));
    }
    let fake = Fake::of([halves()]);
    fake.node(1).plays([error(TRYAGAIN), error(TRYAGAIN), error(TRYAGAIN), error(TRYAGAIN)]);
    assert_eq!(one(fake.request().map([eval()]).await), Ok(Reply::Integer(1)));
    // A link's user without the right to ask.
    let fake = Fake::of([halves()]);
    fake.node(1).plays([moved(2), error("NOPERM no")]);
    assert_eq!(one(fake.request().map([eval()]).await), Ok(Reply::Integer(2)));
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_its_owner_has_dropped_is_given_up_after_a_second() {
    let fake = Fake::of([halves()]);
    fake.node(1).always(|| error("CLUSTERDOWN Hash slot not served"));
    let start = Instant::now();
    assert!(one(fake.request().map([get(BAR)]).await).unwrap_err().contains("CLUSTERDOWN Hash slot not served"));
    assert!((1000..=1200).contains(&ms(start)), "{}", ms(start));
    assert!(fake.fetches() > 5);
    // A cluster that is down may come up again.
    fake.node(2).plays((0..20).map(|_| error("CLUSTERDOWN The cluster is down")));
    assert_eq!(one(fake.request().map([get(FOO)]).await), Ok(Reply::Integer(2)));
}

#[tokio::test(start_paused = true)]
async fn nobody_hears_of_what_was_handed_back_in_process_by_the_deadline() {
    let fake = Fake::of([halves().with_local("10.0.0.1:1")]);
    fake.local().plays([after(Duration::from_secs(1), error(std::str::from_utf8(NOT_IN_PROCESS).unwrap()))]);
    fake.node(2).plays([silent()]);
    let request = fake.request().map([set(BAR), set(FOO)]).with_options(Options::keeping_failures(false));
    let errors: Vec<Error> = request.await.unwrap().errors().map(|(_, error)| error.clone()).collect();
    assert!(errors.iter().all(Error::is_timeout), "{errors:?}");
    assert_eq!(errors.iter().map(Error::is_outcome_unknown).collect::<Vec<_>>(), [false, true]);
}
