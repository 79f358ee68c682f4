//! The commands of a server: what `COMMAND` lists, with the arguments that `COMMAND DOCS` describes.

use crate::common::Server;

use super::reply::Reply;

/// One command, or one subcommand.
#[derive(Debug, Clone)]
pub struct Listed {
    /// As in `config|set`.
    pub name: String,
    pub flags: Vec<String>,
    pub tips: Vec<String>,
    /// The chapter of the documentation that it stands in: `string`, `sorted-set`, ...
    pub group: String,
    pub args: Vec<Arg>,
    /// Tells that the command has subcommands, which are listed on their own.
    pub is_container: bool,
}

/// A node of the tree of arguments.
#[derive(Debug, Clone)]
pub struct Arg {
    pub name: String,
    pub kind: String,
    pub token: Option<String>,
    pub is_optional: bool,
    pub is_multiple: bool,
    pub repeats_token: bool,
    pub of: Vec<Arg>,
}

impl Listed {
    pub fn has_flag(&self, flag: &str) -> bool {
        self.flags.iter().any(|known| known == flag)
    }

    pub fn has_tip(&self, tip: &str) -> bool {
        self.tips.iter().any(|known| known == tip)
    }

    /// Returns whether the command is cut where its keys lie in several slots. Redis 7.0 says so of `MSETNX`, wrongly.
    pub fn is_split(&self) -> bool {
        self.has_tip("request_policy:multi_shard") && self.name != "msetnx"
    }

    /// Returns the words that it is called by.
    pub fn words(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.name.split('|').map(|word| word.as_bytes().to_vec())
    }
}

/// Returns all commands of a server but those of rmr itself.
pub fn commands(server: &Server) -> Vec<Listed> {
    let mut wire = server.wire3();
    let rows = Reply::parse(&wire.call(&["COMMAND"]));
    let docs = Reply::parse(&wire.call(&["COMMAND", "DOCS"]));
    let mut listed: Vec<Listed> = rows.elements().iter().flat_map(|row| of_row(row, &docs)).collect();
    listed.retain(|command| !["rmr.", "rg."].iter().any(|own| command.name.starts_with(own)));
    listed.sort_by(|one, other| one.name.cmp(&other.name));
    listed
}

fn of_row(row: &Reply, docs: &Reply) -> Vec<Listed> {
    let row = row.elements();
    let name = row[0].text().to_lowercase();
    let own = docs.field(&name).or_else(|| docs.field(&name.to_uppercase()));
    let subcommands = row[9].elements();
    let texts = |reply: &Reply| reply.elements().iter().map(Reply::text).collect();
    let whole = Listed {
        name,
        flags: texts(&row[2]),
        tips: texts(&row[7]),
        group: own.and_then(|own| own.field("group")).map(Reply::text).unwrap_or_default(),
        args: own.and_then(|own| own.field("arguments")).map(args).unwrap_or_default(),
        is_container: !subcommands.is_empty(),
    };
    let docs = own.and_then(|own| own.field("subcommands")).unwrap_or(&row[9]);
    let parts = subcommands.iter().flat_map(|row| of_row(row, docs));
    std::iter::once(whole).chain(parts).collect()
}

fn args(list: &Reply) -> Vec<Arg> {
    let arg = |arg: &Reply| {
        let text = |name: &str| arg.field(name).map(Reply::text);
        let flags: Vec<String> =
            arg.field("flags").map(|flags| flags.elements().iter().map(Reply::text).collect()).unwrap_or_default();
        let has = |flag: &str| flags.iter().any(|known| known == flag);
        Arg {
            name: text("name").unwrap_or_default(),
            kind: text("type").unwrap_or_default(),
            token: text("token"),
            is_optional: has("optional"),
            is_multiple: has("multiple"),
            repeats_token: has("multiple_token"),
            of: arg.field("arguments").map(args).unwrap_or_default(),
        }
    };
    list.elements().iter().map(arg).collect()
}
