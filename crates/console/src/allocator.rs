//! What the allocator keeps of memory that is free.

/// Blocks from this size on are given back to the system when they are freed.
#[cfg(target_env = "gnu")]
const GIVEN_BACK_BYTES_MIN: libc::c_int = 256 << 10;

/// Sees to it that what is free does not stay with the program.
///
/// glibc raises its threshold to that of the largest block that was freed so far, up to 32 MiB, and from
/// then on keeps up to twice as much in each thread's arena: packers on several threads held 12 MB more
/// than a patch's header states, 18 % above it. With a fixed threshold they hold what they use. Arenas keep
/// what is smaller: with one for all threads what one of them frees, another one takes; with one for each
/// they held 5 MB more. Other allocators are left as they are.
pub fn give_back_early() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "there is no safe way to set it")]
    // SAFETY: takes numbers, and is called before there are other threads.
    unsafe {
        // Without effect where it fails.
        libc::mallopt(libc::M_MMAP_THRESHOLD, GIVEN_BACK_BYTES_MIN);
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_env = "gnu")]
    use super::*;

    #[cfg(target_env = "gnu")]
    /// Resident memory of this process, in bytes.
    fn resident_bytes() -> usize {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }

    #[cfg(target_env = "gnu")]
    #[test]
    fn freed_blocks_are_not_kept() {
        const BLOCK_BYTES: usize = 16 << 20;
        give_back_early();
        let before = resident_bytes();
        let work = || {
            // The first one would raise the threshold; the others would stay.
            for _ in 0..3 {
                let block = std::hint::black_box(vec![1_u8; BLOCK_BYTES]);
                drop(block);
            }
            let blocks: Vec<_> = (0..8).map(|_| std::hint::black_box(vec![1_u8; BLOCK_BYTES / 8])).collect();
            drop(blocks);
            resident_bytes()
        };
        let after = std::thread::spawn(work).join().unwrap();
        assert!(after < before + BLOCK_BYTES / 2, "{after} bytes, {before} before");
    }
}
