//! [`Wheel`]: a package as a file that can be installed without a network, and what tells such files apart.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

/// Is a package as a file that can be installed without a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wheel {
    /// The name of the file.
    pub(crate) name: String,
    /// The content of the file.
    pub(crate) data: Bytes,
}

/// Returns what tells wheels apart from all others.
pub(crate) fn digest_of(wheels: &[Wheel]) -> u128 {
    let each = digests(wheels).into_iter().flat_map(|(name, digest)| [xxh3_128(name.as_bytes()), digest]);
    let bytes: Vec<u8> = each.flat_map(u128::to_le_bytes).collect();
    xxh3_128(&bytes)
}

/// Returns the names and digests of a set of wheels, in order.
fn digests(wheels: &[Wheel]) -> Vec<(String, u128)> {
    let digest = |wheel: &Wheel| (wheel.name.clone(), xxh3_128(&wheel.data));
    let mut set: Vec<_> = wheels.iter().map(digest).collect();
    set.sort();
    set.dedup();
    set
}

/// Reads a wheel from a folder that belongs to the user of workers, who may have put something else in its place.
pub(super) fn read_wheel(folder: &Path, name: String) -> io::Result<Wheel> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path_of(folder, &name)?)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(format!("{name:?} is no file")));
    }
    let mut data = Vec::new();
    file.read_to_end(&mut data)?;
    Ok(Wheel { name, data: data.into() })
}

pub(super) fn write_wheel(folder: &Path, wheel: &Wheel) -> io::Result<()> {
    let path = path_of(folder, &wheel.name)?;
    let mut file = File::create_new(&path)?;
    io::Write::write_all(&mut file, &wheel.data)?;
    fs::set_permissions(path, Permissions::from_mode(0o644))
}

/// Returns where a wheel is; its name comes from elsewhere, and is to lead nowhere else.
fn path_of(folder: &Path, name: &str) -> io::Result<PathBuf> {
    if name.ends_with(".whl") && !name.contains(['/', '\0']) {
        Ok(folder.join(name))
    } else {
        Err(io::Error::other(format!("{name:?} is not the name of a wheel")))
    }
}
