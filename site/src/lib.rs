//! The packed site: one image that holds every page of a folder, ready to be sent.
//!
//! The packer (feature `pack`, host side) turns folders into an image; the reader ([`Site`],
//! `no_std`, no allocation) checks the image once and then finds responses in it by host and path,
//! without copying. Upstream: folders, or the boot module that the machine hands over. Downstream:
//! `app-http`, which sends a response's head and body as they are.
//!
//! Invariants: an image that [`Site::parse`] accepts is never read outside its bounds, whatever
//! is asked of it; the cost of a look-up does not depend on the number of pages; folders with equal
//! paths, contents and times give equal images.
//!
//! Reading order: [`format`](mod@format), [`records`], [`index`], [`reader`], [`host`], [`page`],
//! `rules`, then `pack`. [`date`] writes HTTP dates.
#![cfg_attr(not(any(test, feature = "pack")), no_std)]
#![forbid(unsafe_code)]

mod check;
pub mod coding;
pub mod date;
pub mod format;
pub mod host;
pub mod index;
pub mod limits;
mod names;
#[cfg(feature = "pack")]
pub mod pack;
pub mod page;
pub mod reader;
pub mod records;
mod rules;

pub use coding::{Coding, Codings, Wanted};
pub use host::{Answer, Host, NoRoom};
pub use page::{Page, Variant};
pub use reader::{Site, SiteError};
