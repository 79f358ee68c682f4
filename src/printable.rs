//! Makes data of users fit to be shown in error texts and logs.

/// Makes user data fit for an error text or a log line: escaped where it is not plain ASCII, cut after 64 bytes.
pub(crate) fn printable(data: &[u8]) -> String {
    const LONGEST: usize = 64;
    let shown = &data[..data.len().min(LONGEST)];
    let mut text = shown.escape_ascii().to_string();
    if data.len() > LONGEST {
        text.push_str("...");
    }
    text
}
