//! Errors of the client library, turned back into what the server said.

use redis::RedisError;

/// Returns the full text of an error as the server sent it: code and detail, without the leading `-`.
///
/// A failed pipeline gives one line per failed command. An error which did not come from the server
/// (a broken connection, a wrong type) gives the library's own text.
pub fn error_text(error: &RedisError) -> String {
    let Some(errors) = error.clone().into_server_errors() else {
        return error.to_string();
    };
    let lines: Vec<String> = errors
        .iter()
        .map(|(_, error)| match error.details() {
            Some(detail) => format!("{} {detail}", error.code()),
            None => error.code().to_owned(),
        })
        .collect();
    lines.join("\n")
}
