//! Damaged images: no panic, no endless loop, no bad description.

use fluvial_delta::structure::Dissector as _;
use fluvial_image::Anatomist;
use proptest::prelude::*;

use crate::proof::check_form;

fn survives(image: &[u8]) {
    if let Some(structure) = Anatomist.dissect(&image.to_vec(), "") {
        check_form(&structure, image.len() as u64);
    }
}

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
        survives(&bytes);
    }
}
