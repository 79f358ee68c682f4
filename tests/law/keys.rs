//! The data that every sequence of commands begins with: keys of every type, in several places.
//!
//! A place is a hash tag, or none. Keys of one place with a tag share a slot; the three tags lie on three shards.

use crate::common::Random;

/// The words before the name of a key.
pub const PLACES: [&str; 4] = ["{a}", "{b}", "{c}", ""];

/// Keys by what they hold. Keys of no type are not there at first.
const KEYS: [(&str, &[&str]); 12] = [
    ("str", &["str1", "str2", "ttl1"]),
    ("num", &["num1", "num2"]),
    ("bits", &["bits1", "str2"]),
    ("list", &["list1", "list2"]),
    ("set", &["set1", "set2", "bigset"]),
    ("zset", &["zset1", "zset2"]),
    ("hash", &["hash1", "hash2", "bighash"]),
    ("stream", &["stream1", "stream2"]),
    ("hll", &["hll1", "hll2"]),
    ("geo", &["geo1", "geo2"]),
    ("vec", &["vec1", "vec2"]),
    ("new", &["new1", "new2"]),
];

/// Names that are easily mistaken for something else.
const ODD_KEYS: [&[u8]; 6] = [b"", b"\xff\x00\r\n", b"{}x", b"a}b{c}", b"NX", b"2"];

/// The commands that make the keys of a place; `$` stands for it.
pub const DATA: [&str; 36] = [
    "SET $str1 hello",
    "SET $str2 ab12",
    "SET $ttl1 passing EX 100000",
    "SET $num1 10",
    "SET $num2 3.5",
    "SETBIT $bits1 7 1",
    "SETBIT $bits1 21 1",
    "RPUSH $list1 m1 m2 m3 m1",
    "RPUSH $list2 3 1 2",
    "SADD $set1 m1 m2 m3",
    "SADD $set2 1 2 3 m1",
    "ZADD $zset1 1 m1 2 m2 3 m3",
    "ZADD $zset2 0.1 m2 5.5 m4 -inf m5 1 m1",
    "HSET $hash1 f1 v1 f2 2 f3 3.5",
    "HSET $hash2 f2 x m1 y",
    "XADD $stream1 1-1 f1 v1",
    "XADD $stream1 2-1 f1 v2 f2 v3",
    "XADD $stream1 3-1 f2 v4",
    "XGROUP CREATE $stream1 g1 0",
    "XGROUP CREATE $stream1 g2 $",
    "XREADGROUP GROUP g1 c1 COUNT 2 STREAMS $stream1 >",
    "XADD $stream2 1-1 f1 v1",
    "XGROUP CREATE $stream2 g1 0",
    "PFADD $hll1 m1 m2 m3",
    "PFADD $hll2 m3 m4",
    "GEOADD $geo1 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
    "GEOADD $geo2 2.352222 48.856613 m1 13.404954 52.520008 m2 13.5 38 Palermo",
    "EVAL big-set 1 $bigset",
    "EVAL big-hash 1 $bighash",
    "VADD $vec1 VALUES 3 1 0 0 m1",
    "VADD $vec1 VALUES 3 0 1 0 m2",
    "VADD $vec1 VALUES 3 0 0 1 m3 SETATTR {\"a\":1}",
    "VADD $vec2 VALUES 2 1 1 m1",
    "SET $no VALUE-THAT-IS-GONE PXAT 4102444800000",
    "DEL $no",
    "PERSIST $str1",
];

/// The source of the keys of one command.
pub enum Whence {
    /// All from one place.
    One(&'static str),
    /// Each from any.
    Any,
}

impl Whence {
    pub fn draw(random: &mut Random) -> Self {
        if random.chance(65) { Self::One(random.pick(&PLACES)) } else { Self::Any }
    }

    /// Returns a key that holds this type; now and then another, or one that does not exist.
    pub fn key(&self, kind: &str, random: &mut Random) -> Vec<u8> {
        if random.chance(2) {
            return random.pick(&ODD_KEYS).to_vec();
        }
        let kind = if random.chance(12) { random.pick(&KEYS).0 } else { kind };
        self.exactly(kind, random)
    }

    /// Returns a key that held this type at first.
    pub fn exactly(&self, kind: &str, random: &mut Random) -> Vec<u8> {
        let place = match self {
            Self::One(place) => place,
            Self::Any => random.pick(&PLACES),
        };
        let known = KEYS.iter().find(|(known, _)| *known == kind);
        let names = known.map_or_else(|| random.pick(&KEYS).1, |(_, names)| names);
        format!("{place}{}", random.pick(names)).into_bytes()
    }
}

/// Returns the kind of value that the keys of a command hold, by the chapter of the documentation that it stands in.
pub fn kind_of(group: &str, random: &mut Random) -> &'static str {
    match group {
        "string" => random.pick(&["str", "num"]),
        "list" => "list",
        "set" => "set",
        "sorted-set" => "zset",
        "hash" => "hash",
        "stream" => "stream",
        "bitmap" => "bits",
        "geo" => "geo",
        "hyperloglog" => "hll",
        _ => random.pick(&KEYS).0,
    }
}
