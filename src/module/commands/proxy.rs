//! `RMR.PROXY` switches on or off that plain commands of this connection are answered for the whole cluster.

use super::spec::{Arg, Call, Spec};
use crate::command::printable;
use crate::error::Error;
use crate::module::proxy;
use crate::module::request::running::Work;
use crate::reply::Reply;

pub(super) const SPEC: Spec = Spec {
    name: c"RMR.PROXY",
    summary:
        c"Switches on or off that plain commands of this connection are answered for the whole cluster, as by RMR.EXEC.",
    complexity: c"O(1)",
    arity: 2,
    flags: c"fast allow-stale deny-script",
    acl_categories: "fast connection",
    args: &[Arg::one_of(c"wish", &[Arg::word(c"on", c"ON"), Arg::word(c"off", c"OFF")])],
    run,
};

fn run(call: &Call<'_>) -> Result<Work, Error> {
    let wants = match call.args[0].to_ascii_uppercase().as_slice() {
        b"ON" => true,
        b"OFF" => false,
        _ => return Err(Error::Invalid(format!("RMR.PROXY is '{}'; give ON or OFF", printable(call.args[0])))),
    };
    proxy::opt(call.ctx, wants)?;
    Ok(Box::pin(std::future::ready(Ok(Reply::OK))))
}
