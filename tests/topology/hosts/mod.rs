//! Lists of hosts: databases of plain servers, by TCP and Unix sockets, placed as the Python library rb places them.

mod common;

#[path = "hosts/asked.rs"]
mod asked;
#[path = "hosts/changing.rs"]
mod changing;
#[path = "hosts/library.rs"]
mod library;
#[path = "hosts/reached.rs"]
mod reached;
#[path = "hosts/shared_with_rb.rs"]
mod shared_with_rb;
