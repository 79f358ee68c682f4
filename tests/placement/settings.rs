//! Tests the settings that all members have to agree on.

use rmr::Error;
use rmr::placement::balance::Order;
use rmr::placement::member::{Member, MemberOptions};
use rmr::placement::slot::{SlotFunc, SlotHash};
use rmr::testing::Server;

use crate::group::{Worker, keys, options, url};

async fn refusal(options: MemberOptions) -> String {
    match Member::join(options).await {
        Ok(_) => panic!("let in"),
        Err(error) => {
            assert!(matches!(error, Error::Invalid(_)), "{error}");
            error.to_string()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_other_settings_is_not_let_in() {
    let server = Server::start();
    let _one = Worker::eager(&server, "one").await;
    let other = options(&server, "two").copies(2).order(Order::Md5);
    let start = "the settings of the other members differ: ";
    assert_eq!(
        refusal(other).await,
        format!("{start}copies is 1 there and 2 here, order is rendezvous there and md5 here")
    );
    let slots = SlotFunc::new(SlotHash::Sha1, 128).expect("a number of slots");
    assert_eq!(refusal(options(&server, "two").slots(slots)).await, format!("{start}slots is 64 there and 128 here"));
    let other = options(&server, "two").min_members(3);
    assert_eq!(refusal(other).await, format!("{start}min-members is 1 there and 3 here"));
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_cannot_be_are_refused() {
    let server = Server::start();
    assert!(refusal(options(&server, "a b")).await.contains("the id 'a b'"));
    assert!(refusal(options(&server, "")).await.contains("empty"));
    assert!(refusal(options(&server, "a").name("x}")).await.contains("braces"));
    assert!(refusal(options(&server, "a").zone("in here")).await.contains("zone"));
    assert!(refusal(options(&server, "a").copies(0)).await.contains("0 copies"));
    assert!(
        refusal(options(&server, "a").timeout(std::time::Duration::from_millis(99))).await.contains("at least 100ms")
    );
    assert!(refusal(MemberOptions::new("a", Vec::<String>::new())).await.contains("no address"));
    assert!(refusal(MemberOptions::new("a", ["nonsense"])).await.contains("'nonsense'"));
}

/// Groups of different names at one server know nothing of each other; one may have none.
#[tokio::test(flavor = "multi_thread")]
async fn groups_have_names() {
    let server = Server::start();
    let one = Member::join(options(&server, "one")).await.expect("a member");
    let other = Member::join(options(&server, "one").name("other").copies(3)).await.expect("a member");
    let nameless = Member::join(MemberOptions::new("one", [url(&server)])).await.expect("a member");
    for member in [&one, &other, &nameless] {
        assert_eq!(member.members(), ["one"]);
    }
    assert!(keys(&server).contains(&"epoch".to_owned()) && keys(&server).contains(&"{rmr:other}:epoch".to_owned()));
}
