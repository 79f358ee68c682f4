//! Hand-given forms of commands whose grammar the documentation cannot say: what goes with what, and what must not be
//! left to chance.
//!
//! `@list` is a key of a list, `@new` one that is not there, `%sha1` a word that [`Stock`](super::scripts::Stock) has.

/// A command, and what may follow it.
pub struct Form {
    pub name: &'static str,
    /// Nothing but these, for what could leave the test or harm its servers.
    pub only: bool,
    pub lines: &'static [&'static str],
}

const fn also(name: &'static str, lines: &'static [&'static str]) -> Form {
    Form { name, only: false, lines }
}

const fn only(name: &'static str, lines: &'static [&'static str]) -> Form {
    Form { name, only: true, lines }
}

/// All of them.
pub const FORMS: &[Form] = &[
    only("acl|cat", &["", "read", "nosuch"]),
    only("acl|deluser", &["alice", "bob", "alice bob", "nobody", "default"]),
    only("acl|dryrun", &["default get x", "alice get x", "default nosuch x", "nobody get x"]),
    only("acl|genpass", &["", "32", "0"]),
    only(
        "acl|setuser",
        &[
            "alice",
            "alice on >secret ~* +@all",
            "bob reset",
            "bob on nopass ~b* +get",
            "alice badrule",
            "bob (~x +get)",
        ],
    ),
    also("acl|getuser", &["default", "alice"]),
    also(
        "bitfield",
        &[
            "@bits SET u8 0 255 GET i4 #1",
            "@str OVERFLOW SAT INCRBY u8 8 200",
            "@new INCRBY i5 100 1 OVERFLOW FAIL INCRBY u2 102 5",
        ],
    ),
    also("bitop", &["AND @new @str @str", "NOT @new @bits", "XOR @str @bits @new"]),
    only("client|kill", &["ID 999999999", "127.0.0.1:1", "ID 999999999 TYPE pubsub"]),
    only("client|pause", &["abc"]),
    only("client|unblock", &["999999999", "x"]),
    only("client|no-evict", &["OFF", "x"]),
    only("command|getkeys", &["get x", "mset a 1 b 2", "eval x 2 a b c", "sort a store b", "nosuch x", "ping", "get"]),
    only("command|getkeysandflags", &["get x", "mset a 1 b 2", "xread streams a b 0 0", "nosuch x", "ping"]),
    only("config|get", &["maxmemory", "slowlog*", "hash-max-*", "nosuch", "maxmemory slowlog-max-len"]),
    only("config|rewrite", &[""]),
    only(
        "config|set",
        &[
            "slowlog-max-len 100",
            "slowlog-max-len 128 maxmemory-samples 7",
            "nosuch 1",
            "maxmemory abc",
            "maxmemory-samples",
        ],
    ),
    only("debug", &["OBJECT @str", "HELP"]),
    also("dump", &["@list"]),
    also(
        "eval",
        &[
            "%set 1 @str v",
            "%get 1 @str",
            "%both 2 @str @list a",
            "%map 0",
            "%own-error 0",
            "%raise 1 @num",
            "%raise 1 @str",
            "%undeclared 0 a",
            "%get 0",
            "nonsense( 0",
            "%get x",
            "%get -1",
            "%get 3 @str",
        ],
    ),
    also("eval_ro", &["%get 1 @str", "%set 1 @str v", "%map 0", "%own-error 0"]),
    also("evalsha", &["%sha1 1 @str", "%sha1 0 a b", "%sha1 2 @str @str"]),
    also("evalsha_ro", &["%sha1 1 @str", "%sha1 0 a b"]),
    also("fcall", &["append 1 @str", "read 2 @str @list", "read 0 x", "two 0 x"]),
    also("fcall_ro", &["read 2 @str @list", "append 1 @str", "read 0"]),
    only(
        "function|load",
        &["%library", "REPLACE %library", "%other-library", "REPLACE %other-library", "%function-code"],
    ),
    also(
        "function|restore",
        &["%library-dump", "%library-dump REPLACE", "%library-dump FLUSH", "%library-dump APPEND"],
    ),
    also(
        "geosearch",
        &[
            "@geo FROMMEMBER Palermo BYRADIUS 200 km ASC",
            "@geo FROMLONLAT 15 37 BYBOX 400 400 km DESC WITHCOORD WITHDIST",
        ],
    ),
    also(
        "geosearchstore",
        &["@new @geo FROMMEMBER Palermo BYRADIUS 200 km", "@new @geo FROMLONLAT 15 37 BYBOX 400 400 km STOREDIST"],
    ),
    also("getex", &["@str EX 1000", "@str PERSIST", "@ttl1"]),
    also("hincrby", &["@hash f2 3"]),
    also("latency|histogram", &["", "get set"]),
    also("linsert", &["@list BEFORE m2 x", "@list AFTER m1 x"]),
    also("lset", &["@list 0 x", "@list -1 x"]),
    only("memory|usage", &["@str", "@list SAMPLES 0", "@new", "@hash SAMPLES x"]),
    only("migrate", &["127.0.0.1 1 @str 0 50", "127.0.0.1 1 @new 0 50", "127.0.0.1 1 %empty 0 50 KEYS @new @new"]),
    only("module|load", &["/nosuch.so"]),
    only("module|loadex", &["/nosuch.so"]),
    only("module|unload", &["nosuch"]),
    also("mset", &["@str x @num 1 @new y", "@str x @str y", "@list x @set"]),
    also("object|freq", &["@str", "@new"]),
    only("pfdebug", &["GETREG @hll", "ENCODING @hll", "DECODE @hll", "TODENSE @hll", "ENCODING @str", "nosuch @hll"]),
    also("psync", &["? -1"]),
    also("rename", &["@str @new", "@new @str", "@list @list"]),
    also("replconf", &["ACK 0"]),
    only("replicaof", &["127.0.0.1 1"]),
    also(
        "restore",
        &[
            "@new 0 %dump",
            "@str 0 %dump REPLACE",
            "@str 0 %dump",
            "@new 99999999 %dump",
            "@new 4102444800000 %dump ABSTTL IDLETIME 10",
        ],
    ),
    also("restore-asking", &["@new 0 %dump", "@str 0 %dump REPLACE"]),
    also("rpoplpush", &["@list @list", "@list @new"]),
    also(
        "scan",
        &[
            "0",
            "0 MATCH {a}* COUNT 5",
            "0 TYPE list",
            "0 TYPE zset MATCH *1 COUNT 100",
            "0 COUNT 0",
            "x",
            "0 MATCH",
            "0 COUNT x",
        ],
    ),
    only("script|debug", &["NO", "nosuch"]),
    also("script|exists", &["%sha1", "%sha1 %sha1 %sha1"]),
    only("shutdown", &["NOSAVE"]),
    only("slaveof", &["127.0.0.1 1"]),
    also("smove", &["@set @set m1"]),
    also(
        "sort",
        &[
            "@list ALPHA",
            "@set ALPHA DESC",
            "@list BY nosort LIMIT 0 2",
            "@list BY w_* ALPHA",
            "@list ALPHA GET #",
            "@list ALPHA STORE @new",
            "@list ALPHA GET w_*",
        ],
    ),
    also("sort_ro", &["@list ALPHA", "@list BY w_*", "@list ALPHA GET # GET w_*"]),
    also("spop", &["@set", "@set 2"]),
    also("substr", &["@str 0 2"]),
    // Redis 8.2 dies of a number of dimensions that no vector has, with or without rmr.
    only(
        "vadd",
        &[
            "@vec VALUES 3 1 1 0 m4",
            "@vec VALUES 2 1 0.5 m2",
            "@new VALUES 2 1 0 m1 SETATTR {\"x\":1}",
            "@vec VALUES 2 1 0",
        ],
    ),
    also("vcard", &["@vec"]),
    also("vdim", &["@vec"]),
    also("vemb", &["@vec m1", "@vec nosuch"]),
    also("vgetattr", &["@vec m3"]),
    also("vinfo", &["@vec"]),
    also("vismember", &["@vec m1", "@vec nosuch"]),
    also("vlinks", &["@vec m1 WITHSCORES", "@vec m1"]),
    also("vrandmember", &["@vec", "@vec 2"]),
    also("vrem", &["@vec m1", "@vec nosuch"]),
    also("vsetattr", &["@vec m1 {\"b\":2}", "@vec nosuch {}"]),
    only("vsim", &["@vec ELE m1 COUNT 2", "@vec VALUES 3 1 0 0 WITHSCORES", "@vec ELE nosuch"]),
    also("xack", &["@stream g1 1-1", "@stream g1 1-1 2-1"]),
    also("xackdel", &["@stream g1 IDS 1 1-1", "@stream g1 DELREF IDS 2 1-1 2-1"]),
    also("xadd", &["@stream * f1 v", "@stream 100-* f1 v", "@new 5-5 f1 v", "@stream MAXLEN 2 * f1 v"]),
    also("xautoclaim", &["@stream g1 c2 0 0", "@stream g1 c2 0 - COUNT 1 JUSTID"]),
    also("xclaim", &["@stream g1 c2 0 1-1", "@stream g1 c2 0 1-1 2-1 JUSTID", "@stream g1 c2 0 3-1 FORCE"]),
    also("xgroup|create", &["@stream g3 0", "@new g1 $ MKSTREAM"]),
    also("xgroup|setid", &["@stream g1 1-1", "@stream g1 $"]),
    also("xinfo|stream", &["@stream", "@stream FULL", "@stream FULL COUNT 1"]),
    also("xpending", &["@stream g1", "@stream g1 - + 10", "@stream g1 IDLE 0 - + 10 c1"]),
    also(
        "xread",
        &[
            "STREAMS @stream 0",
            "COUNT 1 STREAMS @stream @stream 0 1-1",
            "BLOCK 10 STREAMS @stream $",
            "STREAMS @stream $",
        ],
    ),
    also(
        "xreadgroup",
        &["GROUP g1 c1 STREAMS @stream >", "GROUP g1 c1 STREAMS @stream 0", "GROUP g1 c2 BLOCK 10 STREAMS @stream >"],
    ),
    also("xsetid", &["@stream 50-1", "@stream 50-1 ENTRIESADDED 100 MAXDELETEDID 1-1"]),
    also("zadd", &["@zset 1.5 m1 2 m9", "@zset NX 1 m8", "@zset INCR 1 m1"]),
    also("zinter", &["2 @zset @zset WITHSCORES", "2 @zset @set AGGREGATE MAX"]),
    also("zrangestore", &["@new @zset 0 -1"]),
    also("zunion", &["2 @zset @zset WEIGHTS 2 3 WITHSCORES"]),
];

/// A subcommand that nobody has.
pub const NO_SUBCOMMAND: Form = only("", &["nosuch", "nosuch x", ""]);

/// Returns the forms of a command.
pub fn of(name: &str) -> Option<&'static Form> {
    FORMS.iter().find(|form| form.name == name)
}
