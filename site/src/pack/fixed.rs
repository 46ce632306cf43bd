//! Pages that come from no file: redirects, and the answers for where no page is.

use super::content_type::content_type;
use super::fields::FieldSet;
use super::head::{self, HeadSpec, Location};
use super::image::{ImageWriter, NewPage, WriteError};
use crate::coding::Coding;
use crate::records::HostRecord;
use std::io::{Seek, Write};

const PLAIN: &str = "text/plain; charset=utf-8";

/// Clients may keep a page but ask each time whether it is still the same.
const REVALIDATE: &str = "public, max-age=0, must-revalidate";

/// Returns the field lines that every page has.
pub(super) fn default_fields() -> FieldSet {
    let mut fields = FieldSet::default();
    fields.set("Cache-Control", REVALIDATE);
    // Browsers take the type as it is given (WHATWG Fetch, "determine nosniff").
    fields.set("X-Content-Type-Options", "nosniff");
    fields
}

/// The pages of a host that have no path, as far as its folder has them.
#[derive(Debug, Default)]
pub(super) struct FixedPages {
    pub(super) not_found: Option<NewPage>,
    pub(super) unavailable: Option<NewPage>,
}

impl FixedPages {
    /// Adds the pages, plain ones where the folder has none, and returns a record that names them.
    pub(super) fn add<W: Write + Seek>(
        &self,
        host: u16,
        image: &mut ImageWriter<W>,
    ) -> Result<HostRecord, WriteError> {
        let mut numbers = [0; 2];
        let pages = [(404, self.not_found), (503, self.unavailable)];
        for (number, (status, page)) in numbers.iter_mut().zip(pages) {
            let page = match page {
                Some(page) => page,
                None => plain_page(status, image)?,
            };
            *number = image.add_page(host, b"", &page)?;
        }
        let options = options_page(image)?;
        Ok(HostRecord {
            not_found: numbers[0],
            unavailable: numbers[1],
            options: image.add_page(host, b"", &options)?,
            first_rule: 0,
            rule_count: 0,
        })
    }
}

/// Makes the page for a status from the site's own page for it.
pub(super) fn error_page<W: Write + Seek>(
    status: u16,
    path: &[u8],
    content: &[u8],
    image: &mut ImageWriter<W>,
) -> Result<NewPage, WriteError> {
    let mut fields = default_fields();
    fields.set("Cache-Control", "no-cache");
    untagged(
        status,
        Some(content_type(path)),
        None,
        &fields,
        content,
        image,
    )
}

fn plain_page<W: Write + Seek>(
    status: u16,
    image: &mut ImageWriter<W>,
) -> Result<NewPage, WriteError> {
    let mut fields = default_fields();
    fields.set("Cache-Control", "no-cache");
    let body = format!("{status} {}\n", head::reason(status));
    untagged(status, Some(PLAIN), None, &fields, body.as_bytes(), image)
}

fn options_page<W: Write + Seek>(image: &mut ImageWriter<W>) -> Result<NewPage, WriteError> {
    let mut fields = FieldSet::default();
    fields.set("Allow", "GET, HEAD, OPTIONS");
    untagged(204, None, None, &fields, b"", image)
}

/// Returns the location of a folder from its path with a slash at the end.
pub(super) fn to_folder(path: &[u8]) -> Location {
    Location {
        before: head::percent_encode(path),
        after: Vec::new(),
        is_open: true,
    }
}

/// Makes a redirect.
pub(super) fn redirect<W: Write + Seek>(
    status: u16,
    location: &Location,
    image: &mut ImageWriter<W>,
) -> Result<NewPage, WriteError> {
    let body = format!("{status} {}\n", head::reason(status));
    let fields = default_fields();
    untagged(
        status,
        Some(PLAIN),
        Some(location),
        &fields,
        body.as_bytes(),
        image,
    )
}

fn untagged<W: Write + Seek>(
    status: u16,
    content_type: Option<&str>,
    location: Option<&Location>,
    fields: &FieldSet,
    body: &[u8],
    image: &mut ImageWriter<W>,
) -> Result<NewPage, WriteError> {
    let head = head::compose(&HeadSpec {
        status,
        body_bytes: content_type.map(|_| body.len() as u64),
        content_type,
        coding: Coding::Identity,
        etag: None,
        modified: None,
        location,
        fields,
        varies: false,
    })?;
    let variant = image.write_response(&head, body)?;
    Ok(NewPage {
        status,
        modified: None,
        variants: image.add_variants(&[variant])?,
    })
}
