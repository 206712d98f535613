//! Asks for memory before it is needed: tables and window are larger than the caches.

/// Asks for the cache line of `items[index]`; does nothing where there is no such item.
#[inline]
pub fn prefetch<T>(items: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(item) = items.get(index) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: prefetching is a hint that reads and writes nothing the program can observe, and
        // SSE, which has the instruction, is part of every x86-64 processor. The pointer comes from
        // a reference, though it would not have to be valid.
        #[expect(unsafe_code, reason = "there is no safe way to prefetch")]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(item).cast::<i8>());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (items, index);
}

#[cfg(test)]
mod tests {
    use super::prefetch;

    #[test]
    fn nothing_changes_and_no_index_is_refused() {
        let items: Vec<u32> = (0..1000).collect();
        for index in [0, 1, 999, 1000, usize::MAX] {
            prefetch(&items, index);
        }
        prefetch::<u64>(&[], 0);
        prefetch(&[(); 4], 3);
        assert!((0..1000).eq(items));
    }
}
