//! Commands that have no meaning cluster-wide, each with the reason. What shared connections cannot carry at all is
//! refused by the engine itself.

use crate::describe::Description;

/// Why a command is not run cluster-wide; `None` if it is.
pub(super) fn reason(command: &Description) -> Option<&'static str> {
    const ALONE: &str = "it decides about one node; name that with NODE";
    Some(match command.name.as_str() {
        "wait" | "waitaof" => "it counts the writes of its own connection, which has none of the caller's",
        "replicaof" | "slaveof" | "failover" => ALONE,
        "acl|whoami" | "client|getname" | "client|getredir" | "client|id" | "client|info" | "client|trackinginfo" => {
            "it is about its own connection, which would be none of the caller's; send it as it is"
        }
        name if name.starts_with("cluster|") && command.has_flag("admin") => ALONE,
        name if name.starts_with("hotkeys|") || name.starts_with("ft.cursor") => {
            "it belongs to one node; name that with NODE"
        }
        name if name.starts_with("himport|") => "it is bound to its connection, which all requests share",
        _ => return None,
    })
}
