//! Packages, signatures and archives against the real programs.

mod archive;
mod faults;
mod openssl;
mod refusals;
mod script;
mod support;
mod swupdate;
