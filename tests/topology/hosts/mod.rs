//! Lists of hosts: databases of plain servers, by TCP and Unix sockets, placed as the Python library rb places them.

mod asked;
mod changing;
mod library;
mod reached;
mod shared_with_rb;
