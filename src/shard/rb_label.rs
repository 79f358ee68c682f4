//! The labels that the Python library rb gives to hosts, byte for byte: what Python 3 shows of its `HostInfo`.
//!
//! ```text
//! <HostInfo db=0 host='localhost' host_id=0 password=None port=6379 ssl=False ssl_options=None unix_socket_path=None>
//! ```

use crate::error::Error;
use crate::topology::Node;

/// Returns the label that rb gives a node at this position in the list.
///
/// # Errors
/// For a host of which rb would have more to show than the list tells.
pub(super) fn rb_label(id: u32, node: &Node) -> Result<String, Error> {
    let unknown = |what: &str| {
        Error::Invalid(format!("ketama-rb does not know how rb shows {what} of the host {id}; give it a label=..."))
    };
    let host = node.host.as_deref();
    if let Some(label) = host.and_then(|host| host.own_label()) {
        return Ok(label.to_owned());
    }
    if host.and_then(|host| host.own_tls_files()).is_some() {
        return Err(unknown("the certificates"));
    }
    let (name, port) =
        host.map_or_else(|| (node.address.host(), node.address.port().unwrap_or(6379)), |host| host.tcp());
    let password = match host.and_then(|host| host.own_password()) {
        Some(password) => Some(std::str::from_utf8(password).map_err(|_| unknown("the password"))?),
        None => None,
    };
    let socket = host.and_then(|host| host.unix_socket_path());
    let ssl = if host.is_some_and(|host| host.speaks_tls()) { "True" } else { "False" };
    let or_none = |text: Option<&str>| text.map_or_else(|| "None".into(), repr);
    Ok(format!(
        "<HostInfo db={} host={} host_id={id} password={} port={port} ssl={ssl} ssl_options=None unix_socket_path={}>",
        node.database().unwrap_or_default(),
        repr(name),
        or_none(password),
        or_none(socket)
    ))
}

/// Writes a string as Python 3 shows it.
fn repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut shown = String::from(quote);
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            '\\' => shown.push_str("\\\\"),
            character if character == quote => shown.extend(['\\', quote]),
            '\'' | '"' => shown.push(character),
            character if is_printable(character) => shown.push(character),
            character => {
                let code = u32::from(character);
                shown.push_str(&match code {
                    ..=0xff => format!("\\x{code:02x}"),
                    0x100..=0xffff => format!("\\u{code:04x}"),
                    _ => format!("\\U{code:08x}"),
                });
            }
        }
    }
    shown.push(quote);
    shown
}

/// Tells whether Python takes a character for printable. The standard library has the same table, and shows what it
/// escapes; a letter in front keeps it from escaping marks that would join what stands before them.
fn is_printable(character: char) -> bool {
    let escaped = ['a', character].iter().collect::<String>().escape_debug().nth(1);
    escaped == Some(character)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Address, Host, TlsFiles};

    fn label(host: Host) -> String {
        rb_label(0, &Node::of_host(host)).unwrap()
    }

    /// The labels are from rb 1.10 itself, on Python 3.11.
    #[test]
    fn labels_are_those_of_rb() {
        let golden = "<HostInfo db=0 host='localhost' host_id=0 password=None port=6379 ssl=False ssl_options=None unix_socket_path=None>";
        assert_eq!(label(Host::new("localhost", 6379)), golden);
        assert_eq!(rb_label(0, &Node::new(Address::new("localhost", 6379))).unwrap(), golden);
        assert_eq!(
            label(Host::unix("/tmp/it's.sock").db(7).user("nobody").password("p'\"\\\n")),
            "<HostInfo db=7 host='localhost' host_id=0 password='p\\'\"\\\\\\n' port=6379 ssl=False ssl_options=None unix_socket_path=\"/tmp/it's.sock\">"
        );
        assert!(label(Host::new("a", 1).tls(true)).contains(" port=1 ssl=True ssl_options=None "));
        assert!(rb_label(3, &Node::of_host(Host::new("a", 1))).unwrap().contains(" host_id=3 "));
        assert_eq!(label(Host::new("a", 1).password("x").label("own")), "own");
    }

    #[test]
    fn strings_are_shown_as_python_does() {
        for (text, shown) in [
            ("", "''"),
            ("it's", "\"it's\""),
            ("'\"", "'\\'\"'"),
            ("\t\r\n\\", "'\\t\\r\\n\\\\'"),
            ("\0\x1b\x7f", "'\\x00\\x1b\\x7f'"),
            ("caf\u{e9} \u{4e2d}\u{1f600}", "'caf\u{e9} \u{4e2d}\u{1f600}'"),
            ("\u{a0}\u{ad}\u{2028}\u{e000}\u{10ffff}", "'\\xa0\\xad\\u2028\\ue000\\U0010ffff'"),
            ("e\u{301}\u{301}", "'e\u{301}\u{301}'"),
        ] {
            assert_eq!(repr(text), shown);
        }
    }

    #[test]
    fn what_rb_would_show_and_we_cannot_know_is_refused() {
        let error = |host| rb_label(2, &Node::of_host(host)).unwrap_err().to_string();
        assert!(
            error(Host::new("a", 1).tls_files(TlsFiles::default())).contains("certificates of the host 2; give it a")
        );
        assert!(error(Host::new("a", 1).password([0xff])).contains("the password of the host 2"));
    }
}
