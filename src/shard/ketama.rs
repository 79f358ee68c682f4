//! Consistent hashing on a ring, as Ketama and the Python library rb do it: a host that comes or goes moves only its own
//! share of the keys.
//!
//! Each host has 160 points on a ring of 32 bit numbers: the four words of the MD5 of `label-0-salt` to `label-39-salt`,
//! low byte first. A key belongs to the host of the first point above the first word of its own MD5, past the top to that
//! of the lowest. Where two points are one, it is that of the host of the higher id.
//!
//! Everything hangs on the labels. rb takes what Python shows of its host object, in which a password stands too: who
//! changes one, moves keys. Labels of our own say where a host is, and nothing else.
//!
//! Sources: R. Jones, "libketama", last.fm 2007; `ketama.py` and `router.py` of rb 1.10.

use std::sync::Arc;

use arc_swap::ArcSwap;
use md5::{Digest, Md5};

use super::one_of_all;
use super::rb_label::rb_label;
use crate::error::Error;
use crate::topology::{Node, Topology};

/// Four points each.
const DIGESTS_A_HOST: u32 = 40;

/// The ring of Ketama, over all shards alike. It is built once a topology; placing a key then takes some 0.2 µs, of which
/// the MD5 is the most, with 128 hosts as with 3.
///
/// ```
/// use rmr::StaticList;
/// use rmr::shard::{Ketama, ShardFunc};
/// use rmr::topology::Host;
///
/// # async fn run() -> Result<(), rmr::Error> {
/// let hosts = StaticList::new([0, 1, 2].map(|db| Host::new("localhost", 6379).db(db)))?;
/// let engine = rmr::Engine::builder().provider(hosts).shard_func(Ketama::like_rb()).build();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Ketama {
    label: fn(u32, &Node) -> Result<String, Error>,
    /// The rings of the last topologies: a request may still be planned by the one before.
    rings: ArcSwap<Vec<(u64, Arc<Ring>)>>,
}

impl Ketama {
    /// Labels hosts by where they are, `host:port` and the database unless it is 0, or by
    /// [`Host::label`](crate::topology::Host::label): passwords, certificates and ids may change, and no key moves.
    pub fn new() -> Self {
        Self::labelled(|_, node| Ok(node.label().to_owned()))
    }

    /// Labels hosts as rb's `ConsistentHashingRouter` does on Python 3, and so places keys as it does.
    ///
    /// The labels hold id, host, port, database, password, socket, and whether TLS is spoken, all as rb's own list has
    /// them. A host that rb knows under another label, such as one with `ssl_options`, takes that as
    /// [`Host::label`](crate::topology::Host::label); so does one that is to keep its keys when its password changes.
    pub fn like_rb() -> Self {
        Self::labelled(rb_label)
    }

    fn labelled(label: fn(u32, &Node) -> Result<String, Error>) -> Self {
        Self { label, rings: ArcSwap::default() }
    }

    /// Returns the ring of a topology, and builds it at the first request for it.
    fn ring(&self, topology: &Topology) -> Result<Arc<Ring>, Error> {
        /// More topologies than this are not in use at one time, but for a moment.
        const KEPT: usize = 4;
        let stamp = topology.stamp();
        let find = |rings: &[(u64, Arc<Ring>)]| rings.iter().find(|(of, _)| *of == stamp).map(|(_, ring)| ring.clone());
        if let Some(ring) = find(&self.rings.load()) {
            return Ok(ring);
        }
        let labels = topology.shards().iter().zip(0..).map(|(shard, id)| (self.label)(id, &shard.primary));
        let ring = Arc::new(Ring::new(labels.collect::<Result<Vec<_>, _>>()?));
        self.rings.rcu(|rings| {
            let kept = rings.iter().filter(|(of, _)| *of != stamp).take(KEPT - 1).cloned();
            std::iter::once((stamp, ring.clone())).chain(kept).collect::<Vec<_>>()
        });
        Ok(ring)
    }
}

impl Default for Ketama {
    fn default() -> Self {
        Self::new()
    }
}

impl Ketama {
    fn shard(&self, topology: &Topology, key: &[u8]) -> Result<usize, Error> {
        let ring = self.ring(topology)?;
        one_of_all(topology, |_| ring.at(key))
    }
}

places_by_key!(Ketama);

/// The points of all hosts, in ascending order, each with its host's position.
#[derive(Debug)]
struct Ring(Vec<(u32, u32)>);

impl Ring {
    fn new(labels: impl IntoIterator<Item = String>) -> Self {
        let mut points = Vec::new();
        for (label, host) in labels.into_iter().zip(0..) {
            for digest in 0..DIGESTS_A_HOST {
                let digest = words(format!("{label}-{digest}-salt").as_bytes());
                points.extend(digest.map(|point| (point, host)));
            }
        }
        points.sort_unstable();
        // Of equal points the last host's counts.
        points.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            if is_same {
                *kept = *next;
            }
            is_same
        });
        Self(points)
    }

    /// Returns the position of the host that a key belongs to.
    fn at(&self, key: &[u8]) -> usize {
        let [hash, ..] = words(key);
        let above = self.0.partition_point(|&(point, _)| point <= hash);
        let (_, host) = self.0.get(above).or(self.0.first()).copied().unwrap_or_default();
        host as usize
    }
}

/// Returns the four words of a digest, low byte first.
fn words(data: &[u8]) -> [u32; 4] {
    let digest: [u8; 16] = Md5::digest(data).into();
    std::array::from_fn(|word| u32::from_le_bytes(std::array::from_fn(|byte| digest[4 * word + byte])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::shard::ShardFunc;
    use crate::topology::{Address, Host};
    use proptest::prelude::*;

    /// Makes the servers of rb's own test.
    fn servers(ports: impl IntoIterator<Item = u16>) -> Topology {
        Topology::of_nodes("test", ports.into_iter().map(|port| Address::new("192.168.0.1", port)))
    }

    fn place(ketama: &Ketama, topology: &Topology, key: &str) -> Arc<Node> {
        ketama.node(topology, &Command::new("GET").key(key)).unwrap().clone()
    }

    fn port(ketama: &Ketama, topology: &Topology, key: &str) -> u16 {
        place(ketama, topology, key).address.port().unwrap()
    }

    fn hosts(hosts: impl IntoIterator<Item = Host>) -> Topology {
        crate::StaticList::new(hosts).map(|list| Topology::of_hosts("test", list.hosts().iter().cloned())).unwrap()
    }

    fn places(ketama: &Ketama, topology: &Topology, keys: &[&str]) -> Vec<u32> {
        let id = |key: &&str| place(ketama, topology, key).host.as_ref().and_then(|host| host.host_id()).unwrap();
        keys.iter().map(id).collect()
    }

    #[test]
    fn points_are_the_words_of_digests() {
        assert_eq!(words(b"192.168.0.1:6000-0-salt"), [0x2a5aba27, 0xaf93f76f, 0x00e38340, 0x68447e09]);
        let hash = |key: &[u8]| words(key)[0];
        let hashes = [hash(b"Apple"), hash(b"Hello"), hash(b"Data"), hash(b"Computer")];
        assert_eq!(hashes, [0xf490629f, 0x53991a8b, 0xaa8d06f6, 0xda001918]);
        let ring = Ring::new((6000..6009).map(|port| format!("192.168.0.1:{port}")));
        assert_eq!(ring.0.len(), 1440);
        assert_eq!(ring.0[..5], [(0x98bbbb, 2), (0xdeab12, 7), (0xe38340, 0), (0xf83a3c, 5), (0xfca133, 5)]);
    }

    #[test]
    fn places_as_rbs_ketama_does() {
        let ketama = Ketama::new();
        let keys = ["Apple", "Hello", "Data", "Computer"];
        for (there, expected) in [
            ((6000..6009).collect::<Vec<u16>>(), [6002, 6007, 6004, 6004]),
            ((6000..6009).filter(|&port| port != 6007).collect(), [6002, 6000, 6004, 6004]),
            ((6000..6009).collect(), [6002, 6007, 6004, 6004]),
        ] {
            let topology = servers(there);
            assert_eq!(keys.map(|key| port(&ketama, &topology, key)), expected);
        }
        let all = servers(6000..6009);
        let mut counts = [0; 9];
        for key in 0..1000 {
            counts[usize::from(port(&ketama, &all, &format!("a{key}"))) - 6000] += 1;
        }
        assert_eq!(counts, [112, 108, 139, 106, 110, 95, 102, 111, 117]);
    }

    #[test]
    fn places_as_rbs_router_does() {
        let keys = ["foo", "bar", "baz", "mykey", "key:1", "Apple", "Hello", "Data", "Computer"];
        let databases = hosts([0, 1, 2].map(|db| Host::new("localhost", 6379).db(db)));
        assert_eq!(places(&Ketama::like_rb(), &databases, &keys), [2, 1, 0, 1, 0, 0, 2, 0, 2]);
        let keys = ["foo", "bar", "baz", "mykey", "key:1", "a", "b", "c"];
        let documented = || (6379..6383).map(|port| Host::new("127.0.0.1", port));
        assert_eq!(places(&Ketama::like_rb(), &hosts(documented()), &keys), [0, 1, 2, 2, 2, 3, 2, 3]);
        // Labels may be given, and are then all that counts.
        let labelled = hosts(documented().zip(0..).map(|(host, id)| host.label(id.to_string())));
        for ketama in [Ketama::like_rb(), Ketama::new()] {
            assert_eq!(places(&ketama, &labelled, &keys), [2, 2, 3, 1, 3, 0, 2, 0]);
        }
    }

    #[test]
    fn of_two_points_that_are_one_the_last_counts() {
        let ring = Ring::new(["same", "other", "same"].map(str::to_owned));
        assert_eq!(ring.0.len(), 320);
        assert!(ring.0.iter().all(|&(_, host)| host != 0));
        assert!(ring.0.iter().any(|&(_, host)| host == 2));
    }

    fn moved(ketama: &Ketama, before: &Topology, after: &Topology) -> usize {
        let name = |topology, key: &str| place(ketama, topology, key).address.clone();
        (0..2000).map(|key| format!("key:{key}")).filter(|key| name(before, key) != name(after, key)).count()
    }

    #[test]
    fn a_host_that_comes_or_goes_moves_its_own_share() {
        let ketama = Ketama::new();
        let (nine, ten) = (servers(6000..6009), servers(6000..6010));
        for (before, after) in [(&nine, &ten), (&ten, &nine)] {
            let moved = moved(&ketama, before, after);
            assert!((120..300).contains(&moved), "{moved} of 2000");
        }
    }

    #[test]
    fn a_password_moves_keys_for_rb_and_not_for_us() {
        let with = |secure: bool| {
            let host = |port: u16| Host::new("10.0.0.1", port);
            hosts((1..4).map(|port| if secure { host(port).user("app").password("new").tls(true) } else { host(port) }))
        };
        assert_eq!(moved(&Ketama::new(), &with(false), &with(true)), 0);
        assert!(moved(&Ketama::like_rb(), &with(false), &with(true)) > 500);
    }

    #[test]
    fn rings_of_several_topologies_are_kept_apart() {
        let ketama = Ketama::new();
        let topologies: Vec<Topology> = (1..10).map(|last| servers(6000..6000 + last)).collect();
        for _ in 0..2 {
            for (topology, last) in topologies.iter().zip(6000..) {
                assert!((6000..=last).contains(&port(&ketama, topology, "Apple")));
                assert!(ketama.rings.load().len() <= 4);
            }
        }
        assert_eq!(port(&ketama, &topologies[8], "Apple"), 6002);
        let (first, again) = (ketama.ring(&topologies[8]).unwrap(), ketama.ring(&topologies[8]).unwrap());
        assert!(Arc::ptr_eq(&first, &again), "a ring is built once");
    }

    #[test]
    fn no_node_is_an_error() {
        let error = Ketama::new().node(&servers([]), &Command::new("GET").key("a")).unwrap_err().to_string();
        assert_eq!(error, "the provider 'test' knows no node");
        let error = Ketama::new().node(&servers([1]), &Command::new("DBSIZE")).unwrap_err().to_string();
        assert!(error.starts_with("'DBSIZE' has no key"), "{error}");
    }

    proptest! {
        #[test]
        fn a_leaving_host_moves_only_its_own_keys(key in "[a-z0-9]{0,16}", gone in 1u16..=8) {
            let ketama = Ketama::new();
            let before = port(&ketama, &servers(1..=8), &key);
            let after = port(&ketama, &servers((1..=8).filter(|&port| port != gone)), &key);
            prop_assert!(before == gone || before == after);
        }
    }
}
