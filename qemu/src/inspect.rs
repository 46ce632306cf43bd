//! The `inspect` command: what is in a packed site, and whether it is whole.

use crate::Failure;
use site::pack::{location, rule_lines, verify};
use site::{Coding, Host, Page, Site};
use std::io::{self, Write};
use std::path::Path;

/// Lists and verifies the image `file`.
///
/// # Errors
/// [`Failure::Usage`] when it is no image or is damaged.
pub fn inspect(file: &Path) -> Result<(), Failure> {
    let wrong =
        |error: &dyn std::fmt::Display| Failure::Usage(format!("{}: {error}", file.display()));
    let bytes = std::fs::read(file).map_err(|error| wrong(&error))?;
    let site = Site::parse(&bytes).map_err(|error| wrong(&error))?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    // Whoever stops reading (`| head`) has seen enough.
    let _ = list(&site, bytes.len(), &mut out).and_then(|()| out.flush());
    let responses = verify(&site).map_err(|error| wrong(&error))?;
    let _ = writeln!(out, "verified: {responses} responses").and_then(|()| out.flush());
    Ok(())
}

fn list(site: &Site<'_>, bytes: usize, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "site image of version {}, {bytes} bytes",
        site::format::VERSION
    )?;
    for host in site.hosts() {
        writeln!(out, "\n{}", title(&host))?;
        writeln!(
            out,
            "{:>6} {:>12} {:>12} {:>12} {:>12}  path",
            "status", "bytes", "gzip", "br", "zstd"
        )?;
        for page in host.pages() {
            writeln!(out, "{}", row(&page))?;
        }
        for line in rule_lines(site, &host) {
            writeln!(out, "  rule {line}")?;
        }
    }
    Ok(())
}

/// Says which names a host has.
fn title(host: &Host<'_, '_>) -> String {
    let mut names: Vec<String> = host
        .names()
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .map(|name| match name.starts_with('.') {
            true => format!("*{name}"),
            false => name,
        })
        .collect();
    if host.number() == 0 {
        names.push("all other names".to_owned());
    }
    format!("host: {}", names.join(", "))
}

fn row(page: &Page<'_>) -> String {
    let size = |coding: Coding| match page.variant(coding) {
        Some(variant) => variant.body().len().to_string(),
        None => "-".to_owned(),
    };
    let [identity, gzip, br, zstd] = Coding::ALL.map(size);
    let leads_to = match location(&page.identity()) {
        Some(location) => format!(" -> {location}"),
        None => String::new(),
    };
    format!(
        "{:>6} {identity:>12} {gzip:>12} {br:>12} {zstd:>12}  {}{leads_to}",
        page.status(),
        page.path().escape_ascii()
    )
}
