//! liblzma's encoder of LZMA2, whose memory is used again: for short content taking it anew costs as much
//! as packing does.

use std::ffi::c_void;
use std::ptr;

use liblzma_sys as sys;

use crate::codec::xz::Recipe;

/// The smallest dictionary of liblzma.
const DICT_BYTES_MIN: u32 = 4096;

/// The filters that a block goes through, with their options.
pub(crate) struct Filters {
    converters: Vec<u8>,
    options: sys::lzma_options_lzma,
}

impl Filters {
    /// Those of a recipe, for a block of this length; `None` for what liblzma does not support.
    pub(crate) fn new(recipe: &Recipe, block_len: u64) -> Option<Self> {
        // SAFETY: all fields are numbers and pointers, for which zeros are values.
        let mut options: sys::lzma_options_lzma = unsafe { std::mem::zeroed() };
        // SAFETY: the options are there to be written.
        if unsafe { sys::lzma_lzma_preset(&raw mut options, recipe.preset.number()) } != 0 {
            return None;
        }
        options.dict_size = encoder_dict_bytes(recipe.dict_bytes, block_len);
        options.lc = u32::from(recipe.bits.literal_context);
        options.lp = u32::from(recipe.bits.literal_position);
        options.pb = u32::from(recipe.bits.position);
        Some(Self { converters: recipe.filters.clone(), options })
    }

    /// What an encoder takes, in bytes; `None` for filters that liblzma does not support.
    pub(crate) fn memory_bytes(&mut self) -> Option<u64> {
        // SAFETY: the list ends as it has to, and what it points to outlives the call.
        let bytes = self.with_list(|list| unsafe { sys::lzma_raw_encoder_memusage(list) });
        (bytes != u64::MAX).then_some(bytes)
    }

    /// Calls `f` with the list of filters as liblzma takes it, which it must not keep.
    fn with_list<T>(&mut self, f: impl FnOnce(*const sys::lzma_filter) -> T) -> T {
        let end = sys::lzma_filter { id: sys::LZMA_VLI_UNKNOWN, options: ptr::null_mut() };
        let options: *mut c_void = ptr::from_mut(&mut self.options).cast();
        let converters =
            self.converters.iter().map(|&id| sys::lzma_filter { id: id.into(), options: ptr::null_mut() });
        let lzma2 = sys::lzma_filter { id: sys::LZMA_FILTER_LZMA2, options };
        let list: Vec<sys::lzma_filter> = converters.chain([lzma2, end]).collect();
        f(list.as_ptr())
    }
}

/// The encoder's own dictionary for a block of this length. It need not reach farther than the content,
/// but its size rounded up to a power of two also decides in how many chains or trees matches are looked
/// for: so it is the smallest of that class, or the whole.
fn encoder_dict_bytes(dict_bytes: u32, block_len: u64) -> u32 {
    let class_min = dict_bytes.checked_next_power_of_two().map_or(dict_bytes, |power| power / 2 + 1);
    let least = class_min.max(DICT_BYTES_MIN);
    if block_len <= u64::from(least) { least.min(dict_bytes) } else { dict_bytes }
}

/// An encoder that failed; there is nothing to be said of it.
#[derive(Debug)]
pub(crate) struct Failed;

/// An encoder. It is begun anew for each block.
pub(crate) struct RawEncoder(sys::lzma_stream);

// SAFETY: the stream owns what it points to, but for input and output, which it does not keep beyond a call;
// nothing of it belongs to a thread.
unsafe impl Send for RawEncoder {}

impl Default for RawEncoder {
    fn default() -> Self {
        // SAFETY: liblzma's own LZMA_STREAM_INIT is all zeros.
        Self(unsafe { std::mem::zeroed() })
    }
}

impl Drop for RawEncoder {
    fn drop(&mut self) {
        // SAFETY: the stream is either all zeros or was begun by liblzma; both may be ended.
        unsafe { sys::lzma_end(&raw mut self.0) }
    }
}

impl RawEncoder {
    /// Begins a block; memory of the one before is used again where it is of the same size.
    pub(crate) fn begin(&mut self, filters: &mut Filters) -> Result<(), Failed> {
        // SAFETY: the stream is either all zeros or was begun before; the list ends as it has to, and liblzma
        // copies what it needs of it and of the options.
        let done = filters.with_list(|list| unsafe { sys::lzma_raw_encoder(&raw mut self.0, list) });
        if done == sys::LZMA_OK { Ok(()) } else { Err(Failed) }
    }

    /// Takes some of `plain`, and appends what is packed by now within the capacity of `out`. With
    /// `is_end`, `plain` is all that is left. Answers how much was taken, and whether the block has
    /// ended.
    pub(crate) fn encode(
        &mut self,
        plain: &[u8],
        out: &mut Vec<u8>,
        is_end: bool,
    ) -> Result<(usize, bool), Failed> {
        let spare = out.spare_capacity_mut();
        let spare_len = spare.len();
        let stream = &mut self.0;
        (stream.next_in, stream.avail_in) = (plain.as_ptr(), plain.len());
        (stream.next_out, stream.avail_out) = (spare.as_mut_ptr().cast(), spare_len);
        let action = if is_end { sys::LZMA_FINISH } else { sys::LZMA_RUN };
        // SAFETY: the encoder was begun, or refuses; it reads within `plain`, and writes within `spare`,
        // which nothing else refers to meanwhile.
        let done = unsafe { sys::lzma_code(&raw mut *stream, action) };
        let taken = plain.len() - stream.avail_in;
        let written = spare_len - stream.avail_out;
        (stream.next_in, stream.next_out) = (ptr::null(), ptr::null_mut());
        (stream.avail_in, stream.avail_out) = (0, 0);
        // SAFETY: so many bytes behind the end were written, within the capacity.
        unsafe { out.set_len(out.len() + written) };
        match done {
            sys::LZMA_OK => Ok((taken, false)),
            sys::LZMA_STREAM_END => Ok((taken, true)),
            _ => Err(Failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionaries_shrink_within_their_class() {
        for (dict_bytes, block_len, expected) in [
            (1 << 20, 100, (1 << 19) + 1),
            (1 << 20, 600_000, 1 << 20),
            (1 << 20, 2 << 20, 1 << 20),
            (3 << 20, 100, (2 << 20) + 1),
            (4096, 100, 4096),
            (u32::MAX, 100, u32::MAX),
        ] {
            assert_eq!(encoder_dict_bytes(dict_bytes, block_len), expected, "{dict_bytes}, {block_len}");
        }
    }

    #[test]
    fn who_was_not_begun_refuses() {
        assert!(RawEncoder::default().encode(b"content", &mut Vec::with_capacity(100), true).is_err());
    }
}
