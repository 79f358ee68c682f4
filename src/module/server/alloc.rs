//! The server's allocator, so that our memory counts in `used_memory`.

use std::alloc::{GlobalAlloc, Layout, System};

use super::api::probe;

/// Allocates from the server, and from the system where there is none, as in a test.
///
/// Differs from the allocator of the `redis-module` crate, which aborts outside a server, and which copies on every
/// growth because it does not forward `realloc`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ModuleAlloc;

/// The alignment that every block of the server has. Its bundled jemalloc has size classes of 24, 40 and 56 bytes, and
/// with another allocator there are 8 bytes of its own before each block.
const GIVEN: usize = 8;

/// Returns the size of the block that is asked for a larger alignment: it has room to align the part in use, and the
/// server's own pointer to it stands in the word before that part.
fn with_room(layout: Layout) -> usize {
    layout.size() + layout.align()
}

/// Aligns within a block of [`with_room`].
///
/// # Safety
/// `block` is null or such a block.
unsafe fn align(block: *mut u8, layout: Layout) -> *mut u8 {
    if block.is_null() {
        return block;
    }
    // The block is aligned to a word at least, so there is a word before the next larger boundary.
    let offset = layout.align() - (block as usize & (layout.align() - 1));
    // SAFETY: at most `align` bytes into a block that is larger by as much.
    unsafe {
        let aligned = block.add(offset);
        aligned.cast::<*mut u8>().sub(1).write(block);
        aligned
    }
}

/// Returns the server's own pointer to the block of a pointer that [`align`] returned.
///
/// # Safety
/// `pointer` comes from [`align`].
unsafe fn block_of(pointer: *mut u8) -> *mut u8 {
    // SAFETY: `align` has written it there.
    unsafe { pointer.cast::<*mut u8>().sub(1).read() }
}

// SAFETY: the server's functions are those of malloc. Its pointers are set before our first allocation in it and never
// change, so memory goes back to where it came from.
unsafe impl GlobalAlloc for ModuleAlloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the trait demands of the caller.
        unsafe {
            match probe!(RedisModule_Alloc) {
                Some(alloc) if layout.align() <= GIVEN => alloc(layout.size()).cast(),
                Some(alloc) => align(alloc(with_room(layout)).cast(), layout),
                None => System.alloc(layout),
            }
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the trait demands of the caller.
        unsafe {
            match probe!(RedisModule_Free) {
                Some(free) if layout.align() <= GIVEN => free(pointer.cast()),
                Some(free) => free(block_of(pointer).cast()),
                None => System.dealloc(pointer, layout),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the trait demands of the caller.
        unsafe {
            match probe!(RedisModule_Calloc) {
                Some(calloc) if layout.align() <= GIVEN => calloc(1, layout.size()).cast(),
                Some(calloc) => align(calloc(1, with_room(layout)).cast(), layout),
                None => System.alloc_zeroed(layout),
            }
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as the trait demands of the caller; an aligned block is copied, since its place in a block that
        // has moved may be another.
        unsafe {
            match probe!(RedisModule_Realloc) {
                Some(realloc) if layout.align() <= GIVEN => realloc(pointer.cast(), new_size).cast(),
                Some(_) => {
                    let new = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
                    if !new.is_null() {
                        std::ptr::copy_nonoverlapping(pointer, new, layout.size().min(new_size));
                        self.dealloc(pointer, layout);
                    }
                    new
                }
                None => System.realloc(pointer, layout, new_size),
            }
        }
    }
}
