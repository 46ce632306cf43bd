//! The HTTP/1.1 static server on MegaPipe.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

extern crate alloc;
