//! Each rule fails for what it is there for, and for nothing that looks like it.

use super::rules::{Finding, findings};
use super::source::Files;

/// Checks files, given as their path and their text.
fn check(files: &[(&str, &str)]) -> Vec<Finding> {
    let files: Files = files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect();
    findings(&files).into_iter().collect()
}

fn up(from: &str, to: &str) -> Finding {
    Finding::ArrowUp(from.to_owned(), to.to_owned())
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn circle(files: &[&str]) -> Finding {
    Finding::CircleOfFiles(owned(files))
}

/// A floor with two files and one below it, as they should be.
const SOUND: [(&str, &str); 4] = [
    ("lib.rs", "mod engine; mod reply; pub use engine::{Engine, Map}; pub use reply::Reply;"),
    ("engine/mod.rs", "mod map; pub use map::Map; use crate::reply::Reply; pub struct Engine(Reply);"),
    ("engine/map.rs", "use super::Engine; use crate::Reply; pub struct Map<'a>(&'a Engine, Reply);"),
    ("reply.rs", "#[derive(Clone)] pub struct Reply;"),
];

#[test]
fn what_is_sound_is_left_alone() {
    assert_eq!(check(&SOUND), []);
}

#[test]
fn an_arrow_up_is_found_however_it_is_written() {
    for line in [
        "use crate::engine::Engine;",
        "use crate::{reply::Reply, engine::{map::{self}, Engine}};",
        "use crate::Engine;",
        "use super::engine as heart; fn f() { heart::Engine::new() }",
        "fn f() -> crate::engine::Engine {}",
        "use crate::engine; fn f(of: &engine::Engine) {}",
        "use crate::engine::*;",
        "const TEXT: &str = \"\\\"// use\"; const QUOTE: char = '\"'; use crate::engine::Engine;",
        "const TEXT: &[u8] = br#\"\"/*\"#; use crate::engine::Engine;",
    ] {
        let mut files = SOUND.to_vec();
        files[3] = ("reply.rs", "pub struct Reply;");
        files.push(("topology/mod.rs", line));
        assert!(check(&files).contains(&up("topology/mod.rs", "engine/mod.rs")), "{line}");
    }
}

#[test]
fn text_that_is_no_code_of_the_crate_is_no_arrow() {
    for text in [
        "// use crate::engine::Engine;",
        "/// See [`crate::engine::Engine`].\nfn f() {}",
        "/* use crate::engine::Engine; */",
        "const TEXT: &str = \"use crate::engine::Engine;\";",
        "#[cfg(test)] mod tests { use crate::engine::Engine; }",
        "#[cfg(test)] use crate::engine::Engine;",
        "use other::engine::Engine;",
    ] {
        let mut files = SOUND.to_vec();
        files.push(("topology/mod.rs", text));
        assert_eq!(check(&files), [], "{text}");
    }
}

#[test]
fn files_of_tests_may_use_what_they_like() {
    let tests = ("topology/tests.rs", "use crate::engine::Engine; struct Reply;");
    let mut files = SOUND.to_vec();
    files.extend([("topology/mod.rs", "#[cfg(test)]\nmod tests;"), tests]);
    assert_eq!(check(&files), []);
    files[4] = ("topology/mod.rs", "mod tests;");
    assert!(check(&files).contains(&up("topology/tests.rs", "engine/mod.rs")));
}

#[test]
fn floors_side_by_side_that_must_not_meet_are_told_apart() {
    let exec = ("exec/mod.rs", "pub struct Plan;");
    let client = ("client/mod.rs", "use crate::exec::Plan; struct Client(Plan);");
    assert_eq!(check(&[exec, client]), [up("client/mod.rs", "exec/mod.rs")]);
    let link = ("link/mod.rs", "use crate::shard::Ring; struct Link(Ring);");
    assert_eq!(check(&[link, ("shard/mod.rs", "pub struct Ring;")]), []);
}

#[test]
fn nobody_uses_the_servers_for_tests() {
    let module = ("module/mod.rs", "use crate::testing::Server;");
    assert_eq!(check(&[module, ("testing/mod.rs", "pub struct Server;")]), [up("module/mod.rs", "testing/mod.rs")]);
}

#[test]
fn a_circle_between_files_is_found_through_re_exports() {
    let mut files = SOUND.to_vec();
    files[1].1 = "mod map; pub use map::Map; pub struct Engine(Box<Map>);";
    assert_eq!(check(&files), [circle(&["engine/map.rs", "engine/mod.rs"])]);
    files[1].1 = "mod map; pub use map::Map; pub struct Engine; fn f() { map::run() }";
    assert_eq!(check(&files), [circle(&["engine/map.rs", "engine/mod.rs"])]);

    let names = "mod a; mod b; mod c; pub use a::A; pub use b::B; pub use c::C;";
    let round = [
        ("engine/mod.rs", names),
        ("engine/a.rs", "use super::B; pub struct A(B);"),
        ("engine/b.rs", "use super::c::C; pub struct B(C);"),
        ("engine/c.rs", "pub struct C(Box<crate::engine::A>);"),
    ];
    assert_eq!(check(&round), [circle(&["engine/a.rs", "engine/b.rs", "engine/c.rs"])]);
    assert_eq!(check(&round[..3]), []);
}

#[test]
fn a_circle_between_folders_is_found_where_no_files_make_one() {
    let files = [
        ("link/mod.rs", "use crate::shard::Ring; pub struct Link(Ring);"),
        ("link/pool.rs", "pub struct Pool;"),
        ("shard/mod.rs", "pub struct Ring;"),
        ("shard/slots.rs", "use crate::link::pool::Pool; struct Slots(Pool);"),
    ];
    assert_eq!(check(&files), [Finding::CircleOfRooms(owned(&["link", "shard"]))]);
    assert_eq!(check(&files[..3]), []);
}

#[test]
fn a_folder_or_a_file_that_no_floor_has_is_found() {
    let files = [("attic/mod.rs", ""), ("attic/trunk.rs", ""), ("loose.rs", ""), ("reply.rs", "")];
    let unknown = |room: &str| Finding::UnknownRoom(room.to_owned());
    assert_eq!(check(&files), [unknown("attic"), unknown("loose")]);
}

#[test]
fn a_name_that_two_types_have_is_found() {
    let first = ("engine/map.rs", "struct Plan;");
    let twice = Finding::DeclaredTwice("Plan".to_owned(), owned(&["engine/map.rs", "exec/plan.rs"]));
    for line in [
        "pub(crate) enum Plan { A }",
        "trait Plan {}",
        "type Plan = u8;",
        "fn f() { struct Plan; }",
        "mod inner { pub struct Plan<T> { of: T } }",
    ] {
        assert_eq!(check(&[first, ("exec/plan.rs", line)]), std::slice::from_ref(&twice), "{line}");
    }
    for line in
        ["impl Iterator for X { type Plan = u8; }", "trait X { type Plan; }", "fn Plan() {}", "use engine::Plan;"]
    {
        assert_eq!(check(&[first, ("exec/plan.rs", line)]), [], "{line}");
    }
}
