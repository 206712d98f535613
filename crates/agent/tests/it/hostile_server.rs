//! Servers that send what nobody asked for, and do not stop.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fluvial_testing::{RangeFault, RangeServer};

use crate::device::Device;
use crate::release::{Operator, Release, changed, image};

const LEN: usize = 512 << 10;
/// What an endless server gets rid of at most before it is left alone: for each of five tries the first bytes of
/// a bundle, and what the system takes in for a reader that is slow.
const SENT_BYTES_MAX: u64 = 96 << 20;

/// A server that begins each answer with `start`, and goes on with `more` for ever.
struct Endless {
    base: String,
    sent_bytes: Arc<AtomicU64>,
}

impl Endless {
    fn start(start: Vec<u8>, more: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let sent_bytes = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent_bytes);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (start, counter) = (start.clone(), Arc::clone(&counter));
                std::thread::spawn(move || send(&stream, &start, more, &counter));
            }
        });
        Self { base, sent_bytes }
    }
}

fn send(mut stream: &TcpStream, start: &[u8], more: &[u8], counter: &AtomicU64) {
    let request = BufReader::new(stream).lines();
    request.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
    let mut next = start;
    // Until whoever asked goes away, if there is more.
    while !next.is_empty() && stream.write_all(next).is_ok() {
        counter.fetch_add(next.len() as u64, Ordering::Relaxed);
        next = more;
    }
}

fn device(operator: &Operator) -> Device {
    Device::new(&image(1, LEN), &image(3, LEN), operator)
}

#[test]
fn bodies_without_end_are_left() {
    let operator = Operator::new();
    let device = device(&operator);
    let whole = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let part = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-8191/*\r\n\r\n".to_vec();
    let beyond =
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-18446744073709551614/*\r\n\r\n".to_vec();
    let parts = b"HTTP/1.1 206 Partial Content\r\n\
        Content-Type: multipart/byteranges; boundary=part\r\n\r\n"
        .to_vec();
    let headers = b"HTTP/1.1 200 OK\r\n".to_vec();
    let zeros = [0; 4096].as_slice();
    for (start, more, kind, exit_code) in [
        (whole, zeros, "damaged_bundle", 23),
        (part, zeros, "damaged_bundle", 23),
        (beyond, zeros, "io", 3),
        (parts, b"\r\n--other\r\n".as_slice(), "io", 3),
        (headers, b"X-More: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", "io", 3),
    ] {
        let name = String::from_utf8_lossy(&start).into_owned();
        let server = Endless::start(start, more);
        device.refused(&["install", &format!("{}/1.fluvial", server.base)], kind, exit_code);
        let sent_bytes = server.sent_bytes.load(Ordering::Relaxed);
        assert!(sent_bytes < SENT_BYTES_MAX, "{name}: {sent_bytes} bytes were taken");
    }
}

#[test]
fn a_bundle_with_no_end_is_read_to_where_it_should_end() {
    let operator = Operator::new();
    let new = changed(&image(1, LEN), 100, 4);
    let mut release = Release::full(1, &new);
    operator.sign(&mut release);
    let start = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &release.to_bytes()].concat();
    let server = Endless::start(start, &[7; 4096]);
    let device = device(&operator);
    device.installed(&format!("{}/1.fluvial", server.base), &[], &new);
    assert!(server.sent_bytes.load(Ordering::Relaxed) < SENT_BYTES_MAX);
}

#[test]
fn a_server_that_sends_in_circles_is_left() {
    let operator = Operator::new();
    let start =
        b"HTTP/1.1 302 Found\r\nLocation: /other\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec();
    let server = Endless::start(start, b"");
    let message = device(&operator).refused(&["install", &format!("{}/1.fluvial", server.base)], "io", 3);
    assert!(message.contains("redirect"), "{message}");
}

#[test]
fn what_a_server_changes_on_the_way_is_found() {
    let operator = Operator::new();
    let new = changed(&image(1, LEN), 100, 4);
    let full = Release::full(1, &new);
    operator.publish("1.fluvial", full.clone());
    operator.publish("patch.fluvial", Release::patch(&full, "1.fluvial", &image(1, LEN), &new));
    let server = RangeServer::start(&operator.site(), RangeFault::LastByteFlipped).unwrap();
    for name in ["1.fluvial", "patch.fluvial"] {
        let device = device(&operator);
        let ran = device.run(&["install", &format!("{}/{name}", server.base)]);
        assert!([Some(3), Some(12), Some(23), Some(24)].contains(&ran.exit_code), "{name}: {ran:?}");
        assert!(ran.error["hint"].is_string(), "{ran:?}");
        assert_eq!(device.choice(), "a");
        let server = RangeServer::start(&operator.site(), RangeFault::None).unwrap();
        device.installed(&format!("{}/{name}", server.base), &[], &new);
    }
}

#[test]
fn other_ranges_than_were_asked_for_are_refused() {
    let operator = Operator::new();
    let new = changed(&image(1, LEN), 100, 4);
    operator.publish("1.fluvial", Release::full(1, &new));
    for fault in [RangeFault::OtherRange, RangeFault::FirstRange] {
        let server = RangeServer::start(&operator.site(), fault).unwrap();
        let device = device(&operator);
        let ran = device.run(&["install", &format!("{}/1.fluvial", server.base)]);
        if ran.exit_code == Some(0) {
            assert_eq!(device.read("b.img"), new, "{fault:?}");
        } else {
            assert_eq!((ran.exit_code, device.choice().as_str()), (Some(3), "a"), "{fault:?}: {ran:?}");
        }
    }
}
