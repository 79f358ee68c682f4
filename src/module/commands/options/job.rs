//! The arguments of `RMR.JOB`.

use super::cursor::{ArgumentCursor, integer, wrong};
use crate::error::Error;
use crate::module::flow::jobs::JobsAsked;

/// The longest that a result is waited for: a day.
const LONGEST_BLOCK_MS: u64 = 86_400_000;

/// `LIST | STATUS id | RESULT id [BLOCK ms] | CANCEL id | FORGET id`
pub(in crate::module::commands) fn job(args: &[&[u8]]) -> Result<JobsAsked, Error> {
    let allowed = "LIST, STATUS id, RESULT id [BLOCK ms], CANCEL id or FORGET id";
    let mut cursor = ArgumentCursor { args };
    let given = cursor.value("RMR.JOB", allowed)?;
    let mut id = || cursor.value("the id", "the id of an execution, as RMR.JOB LIST shows it").map(text);
    let asked = match given.to_ascii_uppercase().as_slice() {
        b"LIST" => JobsAsked::List,
        b"STATUS" => JobsAsked::Status(id()?),
        b"RESULT" => {
            let id = id()?;
            let block_ms = if cursor.word("BLOCK") { Some(cursor.block_ms()?) } else { None };
            JobsAsked::Result { id, block_ms }
        }
        b"CANCEL" => JobsAsked::Cancel(id()?),
        b"FORGET" => JobsAsked::Forget(id()?),
        _ => return Err(wrong("the question", given, allowed)),
    };
    match cursor.args.first() {
        None => Ok(asked),
        Some(more) => Err(wrong("what follows", more, &format!("{allowed}, and nothing else"))),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl ArgumentCursor<'_> {
    pub(super) fn block_ms(&mut self) -> Result<u64, Error> {
        let allowed = format!("milliseconds to {LONGEST_BLOCK_MS}, or 0 to wait for as long as it takes");
        let given = self.value("BLOCK", &allowed)?;
        integer(given).filter(|&ms| ms <= LONGEST_BLOCK_MS).ok_or_else(|| wrong("BLOCK", given, &allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<JobsAsked, String> {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        job(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn questions_are_read() {
        assert_eq!(asked("list"), Ok(JobsAsked::List));
        assert_eq!(asked("Status a-1"), Ok(JobsAsked::Status("a-1".into())));
        assert_eq!(asked("RESULT a-1"), Ok(JobsAsked::Result { id: "a-1".into(), block_ms: None }));
        assert_eq!(asked("RESULT block BLOCK 0"), Ok(JobsAsked::Result { id: "block".into(), block_ms: Some(0) }));
        assert_eq!(asked("CANCEL a-1"), Ok(JobsAsked::Cancel("a-1".into())));
        assert_eq!(asked("FORGET a-1"), Ok(JobsAsked::Forget("a-1".into())));
    }

    #[test]
    fn a_bad_question_says_what_is_allowed() {
        let all = "LIST, STATUS id, RESULT id [BLOCK ms], CANCEL id or FORGET id";
        assert_eq!(asked("STOP a-1").unwrap_err(), format!("the question is 'STOP'; give {all}"));
        assert_eq!(asked("LIST all").unwrap_err(), format!("what follows is 'all'; give {all}, and nothing else"));
        assert!(asked("STATUS").unwrap_err().starts_with("the id has no value; give the id of an execution"));
        assert!(asked("RESULT a BLOCK -1").unwrap_err().starts_with("BLOCK is '-1'; give milliseconds to 86400000"));
        assert!(asked("RESULT a BLOCK 86400001").is_err() && asked("RESULT a WAIT 1").is_err());
    }
}
