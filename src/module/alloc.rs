//! The server's allocator, so that our memory counts in `used_memory`.

use std::alloc::{GlobalAlloc, Layout, System};

use super::api::probe;

/// Allocates from the server, and from the system where there is none, as in a test.
///
/// Differs from the allocator of the `redis-module` crate, which aborts outside a server, and which copies on every
/// growth because it does not forward `realloc`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ModuleAlloc;

/// Alignment that the server's allocator gives to every size.
const ALIGNED: usize = 16;

/// The size to ask for, so that jemalloc's size classes give the alignment too.
fn size(layout: Layout) -> usize {
    if layout.align() > ALIGNED { layout.pad_to_align().size() } else { layout.size() }
}

// SAFETY: the server's functions are those of malloc. Its pointers are set before our first allocation in it and never
// change, so memory goes back to where it came from.
unsafe impl GlobalAlloc for ModuleAlloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match probe!(RedisModule_Alloc) {
            // SAFETY: as the trait demands of the caller.
            Some(alloc) => unsafe { alloc(size(layout)) }.cast(),
            // SAFETY: as above.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        match probe!(RedisModule_Free) {
            // SAFETY: as the trait demands of the caller.
            Some(free) => unsafe { free(pointer.cast()) },
            // SAFETY: as above.
            None => unsafe { System.dealloc(pointer, layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match probe!(RedisModule_Calloc) {
            // SAFETY: as the trait demands of the caller.
            Some(calloc) => unsafe { calloc(1, size(layout)) }.cast(),
            // SAFETY: as above.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        match probe!(RedisModule_Realloc) {
            Some(realloc) if layout.align() <= ALIGNED => {
                // SAFETY: as the trait demands of the caller.
                unsafe { realloc(pointer.cast(), new_size) }.cast()
            }
            Some(_) => {
                // SAFETY: as the trait demands of the caller; the old and the new block do not overlap.
                unsafe {
                    let new = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
                    if !new.is_null() {
                        std::ptr::copy_nonoverlapping(pointer, new, layout.size().min(new_size));
                        self.dealloc(pointer, layout);
                    }
                    new
                }
            }
            // SAFETY: as above.
            None => unsafe { System.realloc(pointer, layout, new_size) },
        }
    }
}
