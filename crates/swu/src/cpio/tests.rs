use std::io::Read as _;

use proptest::prelude::*;

use super::*;

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = CpioWriter::new(Vec::new());
    for (name, content) in files {
        writer.add(name, content, Checksum::of(content).unwrap()).unwrap();
    }
    writer.finish().unwrap()
}

fn read(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, CpioError> {
    let mut reader = CpioReader::new(bytes);
    let mut files = Vec::new();
    while let Some(mut member) = reader.next_member()? {
        let mut content = Vec::new();
        member.read_to_end(&mut content).map_err(CpioError::from_reader)?;
        assert_eq!(content.len(), member.size_bytes() as usize);
        files.push((member.name().to_owned(), content));
    }
    Ok(files)
}

/// An archive with its second header changed.
fn with_header(change: impl Fn(&mut Header)) -> Vec<u8> {
    let mut header = header::Header::new(1, "b", 3, 0x126);
    change(&mut header);
    let mut bytes = archive(&[("a", b"first")]);
    let trailer = archive(&[]);
    bytes.truncate(bytes.len() - trailer.len());
    bytes.extend_from_slice(&header.to_bytes("b"));
    bytes.extend_from_slice(b"abc\0");
    bytes.extend_from_slice(&trailer);
    bytes
}

use super::header::Header;

#[test]
fn what_is_passed_over_is_checked_too() {
    let mut bytes = archive(&[("a", b"first"), ("b", b"second")]);
    let mut reader = CpioReader::new(&bytes[..]);
    assert_eq!(reader.next_member().unwrap().unwrap().name(), "a");
    assert_eq!(reader.next_member().unwrap().unwrap().name(), "b");
    assert!(reader.next_member().unwrap().is_none());
    assert!(reader.next_member().unwrap().is_none());
    bytes[HEADER_BYTES + 2] ^= 1;
    let mut reader = CpioReader::new(&bytes[..]);
    reader.next_member().unwrap();
    assert!(matches!(reader.next_member(), Err(CpioError::Checksum { name }) if name == "a"));
}

#[test]
fn each_fault_has_its_error() {
    assert_eq!(read(&with_header(|_| ())).unwrap()[1], ("b".into(), b"abc".to_vec()));
    let bytes = archive(&[("a", b"first")]);
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        read(&bytes)
    };
    assert!(matches!(with(5, b'7'), Err(CpioError::Magic { offset: 0 })));
    assert!(matches!(with(6, b'+'), Err(CpioError::Header { offset: 0 })));
    assert!(matches!(with(HEADER_BYTES, b'/'), Err(CpioError::Name { .. })));
    assert!(matches!(with(HEADER_BYTES, b'\n'), Err(CpioError::Name { .. })));
    assert!(matches!(with(HEADER_BYTES, b'.'), Err(CpioError::Name { .. })));
    assert!(matches!(with(HEADER_BYTES, 0), Err(CpioError::Name { .. })));
    assert!(matches!(with(HEADER_BYTES, 0xff), Err(CpioError::Name { .. })));
    assert!(matches!(with(HEADER_BYTES + 1, b'a'), Err(CpioError::Header { offset: 0 })));
    assert!(matches!(with(HEADER_BYTES + 2, 0), Err(CpioError::Checksum { .. })));
    let checksum = read(&with_header(|header| header.checksum = Some(1)));
    assert!(matches!(checksum, Err(CpioError::Checksum { .. })));
    let folder = read(&with_header(|header| header.mode = 0o40_755));
    assert!(matches!(folder, Err(CpioError::Kind { .. })));
    let long = read(&with_header(|header| header.name_len = 300));
    assert!(matches!(long, Err(CpioError::NameLength { len: 300 })));
    let endless = read(&with_header(|header| header.len = u32::MAX));
    assert!(matches!(endless, Err(CpioError::Ends)));
    for len in 0..bytes.len() {
        assert!(matches!(read(&bytes[..len]), Err(CpioError::Ends)), "{len}");
    }
    assert!(read(&[&bytes[..], &[0; 512]].concat()).is_ok());
    assert!(matches!(read(&[&bytes[..], &[0; 513]].concat()), Err(CpioError::Trailing)));
    assert!(matches!(read(&[&bytes[..], b"x"].concat()), Err(CpioError::Trailing)));
}

#[test]
fn names_are_those_of_files_and_there_is_one_of_each() {
    let mut writer = CpioWriter::new(Vec::new());
    for name in ["", ".", "..", "a/b", "/a", "a\0", "a\nb", TRAILER, &"a".repeat(256)] {
        let refused = writer.add(name, &&b""[..], Checksum::default());
        assert!(matches!(refused, Err(CpioError::Name { .. })), "{name}");
    }
    writer.add(&"a".repeat(255), &&b""[..], Checksum::default()).unwrap();
    let again = writer.add(&"a".repeat(255), &&b""[..], Checksum::default());
    assert!(matches!(again, Err(CpioError::Duplicate { .. })));
    assert!(matches!(writer.add("b", &&b"b"[..], Checksum(0)), Err(CpioError::Checksum { .. })));
    let one = archive(&[("same", b"1")]);
    let twice = [&one[..one.len() - archive(&[]).len()], &one[..]].concat();
    assert!(matches!(read(&twice), Err(CpioError::Duplicate { name }) if name == "same"));
}

#[test]
fn no_archive_has_more_files_than_the_limit() {
    let mut writer = CpioWriter::new(Vec::new());
    for index in 0..crate::limits::FILES_MAX {
        writer.add(&index.to_string(), &&b""[..], Checksum::default()).unwrap();
    }
    assert!(matches!(writer.add("more", &&b""[..], Checksum::default()), Err(CpioError::TooMany)));
}

proptest! {
    #[test]
    fn what_was_written_is_read_again(
        files in proptest::collection::btree_map("[a-zA-Z0-9 ._-]{3,20}", proptest::collection::vec(any::<u8>(), 0..300), 0..6),
    ) {
        let files: Vec<(&str, &[u8])> = files.iter().map(|(name, content)| (&name[..], &content[..])).collect();
        let files: Vec<_> = files.into_iter().filter(|(name, _)| *name != "...").collect();
        let back = read(&archive(&files)).unwrap();
        let back: Vec<_> = back.iter().map(|(name, content)| (&name[..], &content[..])).collect();
        prop_assert_eq!(back, files);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600), prefix in 0_usize..250) {
        let whole = archive(&[("a", b"first"), ("b", b"second")]);
        let _ = read(&[&whole[..prefix], &bytes[..]].concat());
    }
}
