//! Reads the arguments of `RG.PYEXECUTE` and of the other commands with options, with the errors of RedisGears.

/// A script and how it is to be run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GearsScript<'a> {
    pub(super) script: &'a [u8],
    /// Replies the execution's id at once.
    pub(super) is_unblocking: bool,
    /// Takes the place of a session that has its id.
    pub(super) upgrades: bool,
    pub(super) reinstalls: bool,
    /// The session whose place it takes.
    pub(super) replaces: Option<String>,
    pub(super) id: Option<String>,
    pub(super) description: Option<String>,
    pub(super) requirements: Vec<String>,
}

/// Reads the arguments of `RG.PYEXECUTE`, of which there is at least one.
///
/// # Errors
/// The error as the client gets it.
pub(super) fn gears_script<'a>(args: &[&'a [u8]]) -> Result<GearsScript<'a>, String> {
    let (script, mut args) = args.split_first().ok_or("the script is missing")?;
    let mut call = GearsScript {
        script,
        is_unblocking: false,
        upgrades: false,
        reinstalls: false,
        replaces: None,
        id: None,
        description: None,
        requirements: Vec::new(),
    };
    while let Some((&word, rest)) = args.split_first() {
        args = rest;
        let mut value = |name: &str| {
            let (value, rest) = args.split_first().ok_or_else(|| format!("{name} is missing"))?;
            args = rest;
            Ok::<_, String>(text(value))
        };
        match word.to_ascii_uppercase().as_slice() {
            b"UNBLOCKING" => call.is_unblocking = true,
            b"UPGRADE" => call.upgrades = true,
            b"FORCE_REINSTALL_REQUIREMENTS" => call.reinstalls = true,
            b"REPLACE_WITH" => call.replaces = Some(value("REPLACE_WITH")?),
            b"DESCRIPTION" => call.description = Some(value("DESCRIPTION")?),
            b"ID" => {
                let id = value("ID")?;
                let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
                if id.is_empty() || !id.chars().all(is_letter) {
                    return Err("ID must be compose of: ['A'-'Z' | 'a'-'z' | '0' - '9' | '-' | '_']".into());
                }
                call.id = Some(id);
            }
            b"REQUIREMENTS" => {
                call.requirements = args.iter().map(|requirement| text(requirement)).collect();
                args = &[];
            }
            _ => return Err(format!("Unknown arguments were given: {}", text(word))),
        }
    }
    Ok(call)
}

/// Says which shards `RG.GETEXECUTION` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShownShards {
    /// The shards that have a share, in a cluster; else the only one.
    Fitting,
    This,
    All,
}

/// Reads what stands behind the id.
///
/// # Errors
/// The error as the client gets it.
pub(super) fn shown_shards(args: &[&[u8]]) -> Result<ShownShards, String> {
    match args {
        [] => Ok(ShownShards::Fitting),
        [word, ..] if word.eq_ignore_ascii_case(b"SHARD") => Ok(ShownShards::This),
        [word, ..] if word.eq_ignore_ascii_case(b"CLUSTER") => Ok(ShownShards::All),
        _ => Err("unknown subcommand".into()),
    }
}

/// Says which sessions `RG.PYDUMPSESSIONS` shows, and how.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SessionsAsked {
    /// Shows the sessions that nobody can name any more, and that something still needs.
    pub(super) dead: bool,
    pub(super) verbose: bool,
    /// Shows these sessions alone.
    pub(super) only: Option<Vec<String>>,
}

/// Reads the arguments of `RG.PYDUMPSESSIONS`.
///
/// # Errors
/// The error as the client gets it.
pub(super) fn sessions_asked(mut args: &[&[u8]]) -> Result<SessionsAsked, String> {
    let mut asked = SessionsAsked { dead: false, verbose: false, only: None };
    while let Some((word, rest)) = args.split_first() {
        args = rest;
        match word.to_ascii_uppercase().as_slice() {
            // The manual calls it TS.
            b"DEAD" | b"TS" => asked.dead = true,
            b"VERBOSE" => asked.verbose = true,
            b"SESSIONS" => {
                asked.only = Some(args.iter().map(|id| text(id)).collect());
                args = &[];
            }
            _ => return Err(format!("Unknown option {}", text(word))),
        }
    }
    Ok(asked)
}

/// Says what is wanted of a profile.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ProfileAsked {
    Stats {
        session: String,
        /// The column by which the profile is sorted, as `pstats` names it.
        order: String,
    },
    Reset {
        session: String,
    },
}

/// Reads the arguments of `RG.PYPROFILE`, of which there are at least two.
///
/// # Errors
/// The error as the client gets it.
pub(super) fn profile_asked(args: &[&[u8]]) -> Result<ProfileAsked, String> {
    match args {
        [word, session, rest @ ..] if word.eq_ignore_ascii_case(b"STATS") => {
            let order = rest.first().map(|order| text(order)).unwrap_or_default();
            Ok(ProfileAsked::Stats { session: text(session), order })
        }
        [word, session] if word.eq_ignore_ascii_case(b"RESET") => Ok(ProfileAsked::Reset { session: text(session) }),
        _ => Err("Wrong subcommand given to RG.PYPROFILE".into()),
    }
}

/// Returns an argument as text.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<&[u8]> {
        line.split_whitespace().map(str::as_bytes).collect()
    }

    fn called(line: &str) -> Result<String, String> {
        gears_script(&words(line)).map(|call| {
            let flags = [(call.is_unblocking, 'u'), (call.upgrades, 'g'), (call.reinstalls, 'r')];
            let flags: String = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, letter)| letter).collect();
            format!("{flags} {:?} {:?} {:?} {:?}", call.id, call.replaces, call.description, call.requirements)
        })
    }

    #[test]
    fn options_come_in_any_order_and_case() {
        assert_eq!(called("x").unwrap(), " None None None []");
        assert_eq!(
            called("x id a-B_1 Unblocking upgrade FORCE_reinstall_requirements").unwrap(),
            "ugr Some(\"a-B_1\") None None []"
        );
        assert_eq!(
            called("x DESCRIPTION d REPLACE_WITH old ID new").unwrap(),
            " Some(\"new\") Some(\"old\") Some(\"d\") []"
        );
    }

    #[test]
    fn all_that_follows_requirements_is_one() {
        assert_eq!(called("x REQUIREMENTS").unwrap(), " None None None []");
        assert_eq!(called("x REQUIREMENTS a UNBLOCKING").unwrap(), " None None None [\"a\", \"UNBLOCKING\"]");
    }

    #[test]
    fn errors_are_those_of_redisgears() {
        for (line, error) in [
            ("x REPLACE_WITH", "REPLACE_WITH is missing"),
            ("x ID", "ID is missing"),
            ("x description", "DESCRIPTION is missing"),
            ("x FOO", "Unknown arguments were given: FOO"),
            ("x ID a.b", "ID must be compose of: ['A'-'Z' | 'a'-'z' | '0' - '9' | '-' | '_']"),
        ] {
            assert_eq!(called(line).unwrap_err(), error, "{line}");
        }
        assert_eq!(gears_script(&[b"x", b"ID", b""]).unwrap_err().split(':').next(), Some("ID must be compose of"));
    }

    #[test]
    fn other_commands_have_options_too() {
        assert_eq!(shown_shards(&[]), Ok(ShownShards::Fitting));
        assert_eq!(shown_shards(&words("shard")), Ok(ShownShards::This));
        assert_eq!(shown_shards(&words("CLUSTER")), Ok(ShownShards::All));
        assert_eq!(shown_shards(&words("NODE")), Err("unknown subcommand".into()));
        let asked = sessions_asked(&words("verbose SESSIONS a DEAD")).unwrap();
        let only = Some(vec!["a".to_owned(), "DEAD".to_owned()]);
        assert_eq!(asked, SessionsAsked { dead: false, verbose: true, only });
        assert_eq!(sessions_asked(&words("ALL")), Err("Unknown option ALL".into()));
        let stats = ProfileAsked::Stats { session: "s".into(), order: "cumulative".into() };
        assert_eq!(profile_asked(&words("stats s cumulative")), Ok(stats));
        assert_eq!(profile_asked(&words("RESET s")), Ok(ProfileAsked::Reset { session: "s".into() }));
        assert_eq!(profile_asked(&words("SHOW s")), Err("Wrong subcommand given to RG.PYPROFILE".into()));
    }
}
