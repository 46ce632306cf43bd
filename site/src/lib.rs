//! The packed site: its format, the reader (`no_std`) and the packer (feature `pack`).
#![cfg_attr(not(any(test, feature = "pack")), no_std)]
#![forbid(unsafe_code)]
