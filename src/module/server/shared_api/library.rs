//! [`PinnedLibrary`]: code of another module that stays where it is.

use std::ffi::{CStr, c_void};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// A library that is mapped, and stays so as long as this is held: the server's own handle is one of several then.
#[derive(Debug)]
pub(crate) struct PinnedLibrary(NonNull<c_void>);

// SAFETY: a handle of the dynamic linker, which may be used on any thread.
unsafe impl Send for PinnedLibrary {}
// SAFETY: as above; nothing is done through a reference.
unsafe impl Sync for PinnedLibrary {}

impl PinnedLibrary {
    /// Pins the library that has this function. `None` for what is in no library that could be unmapped by its name.
    pub(super) fn of(code: *const c_void) -> Option<Self> {
        let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
        // SAFETY: any address may be asked for; the name is read while the library is mapped, which it is since its code
        // has called us.
        unsafe {
            if libc::dladdr(code, info.as_mut_ptr()) == 0 {
                return None;
            }
            let name = info.assume_init().dli_fname;
            if name.is_null() || CStr::from_ptr(name).is_empty() {
                return None;
            }
            NonNull::new(libc::dlopen(name, libc::RTLD_NOW | libc::RTLD_NOLOAD)).map(Self)
        }
    }
}

impl Drop for PinnedLibrary {
    fn drop(&mut self) {
        // SAFETY: a handle of ours, closed once. Whoever holds code of the library holds this.
        unsafe { libc::dlclose(self.0.as_ptr()) };
    }
}
