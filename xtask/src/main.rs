//! The task runner: `cargo xtask ci` and `cargo xtask bench`.
fn main() {}
