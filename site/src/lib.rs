//! The packed site: one image that holds every page of a folder, ready to be sent.
//!
//! The packer (feature `pack`, host side) turns a folder into an image; the reader ([`Site`],
//! `no_std`, no allocation) checks the image once and then finds pages in it by path, without
//! copying. Upstream: a folder, or the boot module that the machine hands over. Downstream:
//! `app-http`, which sends a page's head and body as they are.
//!
//! Invariants: an image that [`Site::parse`] accepts is never read outside its bounds, whatever
//! is asked of it; the cost of a look-up does not depend on the number of pages; equal folders
//! give equal images.
//!
//! Reading order: [`format`](mod@format), [`index`], [`reader`], then `pack`. [`date`] writes
//! HTTP dates.
#![cfg_attr(not(any(test, feature = "pack")), no_std)]
#![forbid(unsafe_code)]

pub mod date;
pub mod format;
pub mod index;
pub mod limits;
#[cfg(feature = "pack")]
pub mod pack;
pub mod reader;

pub use reader::{Page, Site, SiteError};
