//! [`OwnSlots`]: what a node of a Redis Cluster says of its own slots.
//!
//! An answer that depends on keys holds for the slots that its node had when it gave it. The node's own line of `CLUSTER NODES`
//! is the one place, in every version of Redis and Valkey, that says which these are and which of them are on the move:
//! `CLUSTER SHARDS` and `CLUSTER SLOTS` leave that out, and other nodes' lines may be late.

use memchr::{memchr, memmem, memrchr};

use super::slots::{SlotRange, parse_range};

/// Holds what a node of a Redis Cluster says of its own slots at one moment.
///
/// Two are equal if the node has had the same slots, as far as it can tell, from the one moment to the other: a slot that has
/// gone and come back has raised the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnSlots {
    /// The node's id in its cluster.
    pub id: String,
    /// Says whether the node takes itself for a primary.
    pub is_primary: bool,
    /// Its config epoch, which grows when it takes slots over.
    pub epoch: u64,
    /// The slots that it owns, in ascending order.
    pub owned: Vec<SlotRange>,
    /// The slots whose keys come or go one by one, in ascending order.
    pub moving: Vec<MovingSlot>,
}

/// A slot on its way from one node to another, as one of the two says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct MovingSlot {
    /// The slot.
    pub slot: u16,
    /// Says whether the slot leaves the node that says this; else it comes there.
    pub leaves: bool,
    /// The id of the node at the other end.
    pub peer: String,
}

impl OwnSlots {
    /// Reads a node's own line of its `CLUSTER NODES`. Returns `None` if there is none, or it is not well-formed.
    ///
    /// ```
    /// use rmr::topology::OwnSlots;
    ///
    /// let said = b"aa 10.0.0.1:7001@17001 myself,master - 0 0 3 connected 0-5460 7 [7->-bb]\n";
    /// let own = OwnSlots::parse(said).unwrap();
    /// assert_eq!((own.owned.as_slice(), own.moving[0].slot), (&[(0, 5460), (7, 7)][..], 7));
    /// ```
    pub fn parse(cluster_nodes: &[u8]) -> Option<Self> {
        OwnLine::find(cluster_nodes)?.parse()
    }

    /// Tells whether the node has all keys of a slot: it is its primary, and no key comes or goes by itself.
    #[cfg_attr(not(feature = "module"), allow(dead_code, reason = "only a server reads its own slots"))]
    pub(crate) fn has_whole(&self, slot: u16) -> bool {
        let behind = self.owned.partition_point(|(first, _)| *first <= slot);
        let is_owned = behind > 0 && slot <= self.owned[behind - 1].1;
        is_owned && self.is_primary && !self.moving.iter().any(|moving| moving.slot == slot)
    }
}

/// A node's own line of `CLUSTER NODES`, without what changes all the time or with who asks: times and addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnLine<'a> {
    id: &'a [u8],
    flags: &'a [u8],
    primary: &'a [u8],
    epoch: &'a [u8],
    slots: &'a [u8],
}

impl<'a> OwnLine<'a> {
    /// Finds the line in a whole `CLUSTER NODES`.
    pub(crate) fn find(cluster_nodes: &'a [u8]) -> Option<Self> {
        // A node may be called so, too.
        memmem::find_iter(cluster_nodes, MYSELF).find_map(|at| {
            let start = memrchr(b'\n', &cluster_nodes[..at]).map_or(0, |end| end + 1);
            let end = memchr(b'\n', &cluster_nodes[at..]).map_or(cluster_nodes.len(), |length| at + length);
            Self::of(&cluster_nodes[start..end]).filter(Self::is_own)
        })
    }

    /// Reads a line of `id address flags primary ping pong epoch state slot...`.
    fn of(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(9, |&byte| byte == b' ');
        let (id, _address, flags) = (fields.next()?, fields.next()?, fields.next()?);
        let (primary, _ping, _pong) = (fields.next()?, fields.next()?, fields.next()?);
        let (epoch, _state) = (fields.next()?, fields.next()?);
        Some(Self { id, flags, primary, epoch, slots: fields.next().unwrap_or_default() })
    }

    fn has_flag(&self, flag: &[u8]) -> bool {
        self.flags.split(|&byte| byte == b',').any(|known| known == flag)
    }

    fn is_own(&self) -> bool {
        self.has_flag(MYSELF)
    }

    /// Reads what the line says. Returns `None` if it is not well-formed.
    pub(crate) fn parse(&self) -> Option<OwnSlots> {
        let text = |field| std::str::from_utf8(field).ok();
        let (mut owned, mut moving) = (Vec::new(), Vec::new());
        for word in text(self.slots)?.split_ascii_whitespace() {
            match word.strip_prefix('[') {
                None => owned.push(parse_range(word)?),
                Some(marked) => moving.push(MovingSlot::parse(marked.strip_suffix(']')?)?),
            }
        }
        owned.sort_unstable();
        moving.sort_unstable();
        Some(OwnSlots {
            id: text(self.id)?.to_owned(),
            is_primary: !self.has_flag(b"slave"),
            epoch: text(self.epoch)?.parse().ok()?,
            owned,
            moving,
        })
    }

    /// Copies the line, to be compared with later ones, into a buffer that has been used before.
    pub(crate) fn copy_to(&self, kept: &mut KeptLine) {
        kept.bytes.clear();
        kept.ends = [self.id, self.flags, self.primary, self.epoch, self.slots].map(|field| {
            kept.bytes.extend_from_slice(field);
            kept.bytes.len()
        });
    }
}

const MYSELF: &[u8] = b"myself";

/// A copy of an [`OwnLine`].
#[derive(Debug, Default)]
pub(crate) struct KeptLine {
    bytes: Vec<u8>,
    ends: [usize; 5],
}

impl KeptLine {
    /// Returns what was copied.
    pub(crate) fn line(&self) -> OwnLine<'_> {
        let mut start = 0;
        let [id, flags, primary, epoch, slots] =
            self.ends.map(|end| &self.bytes[std::mem::replace(&mut start, end)..end]);
        OwnLine { id, flags, primary, epoch, slots }
    }
}

impl MovingSlot {
    /// Reads `7->-id` or `7-<-id`.
    fn parse(marked: &str) -> Option<Self> {
        let (leaves, (slot, peer)) = match marked.split_once("->-") {
            Some(parts) => (true, parts),
            None => (false, marked.split_once("-<-")?),
        };
        Some(Self { slot: slot.parse().ok()?, leaves, peer: peer.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHERS: &str = "\
bb 10.0.0.2:7002@17002,myself.example master - 0 1 2 connected 5461-16383 [9->-aa]\n\
cc 10.0.0.3:7003@17003 slave aa 0 1 2 connected\n";

    fn said(own: &str) -> Option<OwnSlots> {
        OwnSlots::parse(format!("{OTHERS}{own}\n").as_bytes())
    }

    #[test]
    fn the_own_line_is_read_wherever_it_stands() {
        let own = "aa :7001@17001 myself,master - 0 1700000000000 7 connected 0-9 11 [11->-bb] [12-<-cc]";
        let expected = OwnSlots {
            id: "aa".into(),
            is_primary: true,
            epoch: 7,
            owned: vec![(0, 9), (11, 11)],
            moving: vec![
                MovingSlot { slot: 11, leaves: true, peer: "bb".into() },
                MovingSlot { slot: 12, leaves: false, peer: "cc".into() },
            ],
        };
        assert_eq!(said(own), Some(expected.clone()));
        let whole = |slot: &u16| expected.has_whole(*slot);
        assert_eq!((0..=20).filter(whole).collect::<Vec<u16>>(), (0..=9).collect::<Vec<u16>>());
        assert_eq!(OwnSlots::parse(format!("{own}\n{OTHERS}").as_bytes()), Some(expected.clone()));
        assert_eq!(OwnSlots::parse(own.as_bytes()), Some(expected));
    }

    #[test]
    fn a_node_without_slots_and_a_replica_say_so() {
        let primary = said("aa 10.0.0.1:7001@17001 myself,master - 0 0 0 connected").unwrap();
        assert!(primary.is_primary && primary.owned.is_empty() && primary.moving.is_empty());
        let replica = said("aa 10.0.0.1:7001@17001,one.example,shard-id=x myself,slave bb 0 0 2 connected").unwrap();
        assert!(!replica.is_primary && replica.epoch == 2);
    }

    #[test]
    fn what_is_not_well_formed_is_nothing() {
        for own in [
            "",
            "aa 10.0.0.1:7001@17001 myself,master - 0 0",
            "aa 10.0.0.1:7001@17001 myself,master - 0 0 x connected 0-9",
            "aa 10.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-x",
            "aa 10.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-9 [9->-bb",
            "aa 10.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-9 [9=bb]",
        ] {
            assert_eq!(said(own), None, "{own}");
        }
        assert_eq!(OwnSlots::parse(b""), None);
    }

    #[test]
    fn lines_that_differ_in_times_and_addresses_are_the_same() {
        let of = |line: &'static str| OwnLine::find(line.as_bytes()).unwrap();
        let line = of("aa 10.0.0.1:7001@17001 myself,master - 0 0 7 connected 0-9");
        assert_eq!(line, of("aa 127.0.0.1:7101@17001 myself,master - 5 6 7 connected 0-9"));
        for other in [
            "ab 10.0.0.1:7001@17001 myself,master - 0 0 7 connected 0-9",
            "aa 10.0.0.1:7001@17001 myself,slave bb 0 0 7 connected 0-9",
            "aa 10.0.0.1:7001@17001 myself,master - 0 0 8 connected 0-9",
            "aa 10.0.0.1:7001@17001 myself,master - 0 0 7 connected 0-8",
            "aa 10.0.0.1:7001@17001 myself,master - 0 0 7 connected 0-9 [9->-bb]",
        ] {
            assert_ne!(line, of(other));
        }
        let mut kept = KeptLine::default();
        for line in [of("aa 10.0.0.1:7001@17001 myself,slave bb 0 0 7 connected"), line] {
            line.copy_to(&mut kept);
            assert_eq!(kept.line(), line);
        }
    }
}
