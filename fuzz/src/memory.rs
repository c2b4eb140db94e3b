//! A bound on memory that holds for what is asked for, not only for what is touched.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most bytes that the code under test may hold at a time. The largest input has 1 MiB, and
/// nothing may need more than some hundreds of times its size.
pub const MAX_BYTES: usize = 1 << 30;

/// The allocator of the fuzz targets: it refuses what is beyond [`MAX_BYTES`], which ends the
/// process, which the fuzzer reports with its input.
pub struct Bounded;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it came, or refused with null.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size() > MAX_BYTES {
            HELD.fetch_sub(layout.size(), Ordering::Relaxed);
            return std::ptr::null_mut();
        }
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size() > MAX_BYTES {
            HELD.fetch_sub(layout.size(), Ordering::Relaxed);
            return std::ptr::null_mut();
        }
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > layout.size() {
            let more = size - layout.size();
            if HELD.fetch_add(more, Ordering::Relaxed) + more > MAX_BYTES {
                HELD.fetch_sub(more, Ordering::Relaxed);
                return std::ptr::null_mut();
            }
        } else {
            HELD.fetch_sub(layout.size() - size, Ordering::Relaxed);
        }
        unsafe { System.realloc(block, layout, size) }
    }
}
