//! The flags that say how folders are packed, for `pack` and `run`; the words of `pack` and
//! `inspect`.

use crate::options::{Command, explain, number, surplus, text, unknown, written};
use lexopt::prelude::{Long, Short, Value};
use site::pack::{Compression, PackOptions};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Returns the options of `run` when no flag is given: what takes long is left to `pack`.
pub fn for_trying_out() -> PackOptions {
    PackOptions {
        compression: Compression::Fast,
        ..PackOptions::default()
    }
}

/// Returns the folder of the first host, which is packed first when no other folder is named.
pub fn first_host(options: &PackOptions) -> Option<PathBuf> {
    options.hosts.first().map(|(_, dir)| dir.clone())
}

/// Reads what is left of a `pack` command.
pub(crate) fn pack_words(parser: &mut lexopt::Parser) -> Result<Command, String> {
    let (mut site, mut output) = (None, None);
    let mut options = PackOptions::default();
    let mut is_verbose = false;
    while let Some(argument) = parser.next().map_err(explain)? {
        match argument {
            Short('o') | Long("output") => {
                output = Some(PathBuf::from(parser.value().map_err(explain)?));
            }
            Long("verbose") => is_verbose = true,
            Value(word) if site.is_none() => site = Some(PathBuf::from(word)),
            Value(word) => return Err(surplus(&word)),
            flag => {
                let name = written(&flag);
                if !pack_flag(parser, &name, &mut options)? {
                    return Err(unknown(&name));
                }
            }
        }
    }
    let site = site.or_else(|| first_host(&options));
    match (site, output) {
        (Some(site), Some(output)) => Ok(Command::Pack {
            site,
            output,
            options,
            is_verbose,
        }),
        _ => Err("pack needs a folder and a file: ./run.sh pack SITE_DIR -o FILE".to_owned()),
    }
}

/// Reads what is left of an `inspect` command.
pub(crate) fn inspect_words(parser: &mut lexopt::Parser) -> Result<Command, String> {
    let mut file = None;
    while let Some(argument) = parser.next().map_err(explain)? {
        match argument {
            Value(word) if file.is_none() => file = Some(PathBuf::from(word)),
            Value(word) => return Err(surplus(&word)),
            flag => return Err(unknown(&written(&flag))),
        }
    }
    match file {
        Some(file) => Ok(Command::Inspect { file }),
        None => Err("inspect needs a file: ./run.sh inspect FILE".to_owned()),
    }
}

/// Reads a flag if it is one of packing; returns whether it is.
///
/// # Errors
/// What is wrong with its value and what to write.
pub(crate) fn pack_flag(
    parser: &mut lexopt::Parser,
    name: &str,
    options: &mut PackOptions,
) -> Result<bool, String> {
    match name {
        "--host" => {
            let word = parser.value().map_err(explain)?;
            // A folder's name may be of any bytes.
            let mut parts = word.as_bytes().splitn(2, |byte| *byte == b'=');
            match (parts.next().map(str::from_utf8), parts.next()) {
                (Some(Ok(host)), Some(dir)) if !host.is_empty() && !dir.is_empty() => {
                    let dir = PathBuf::from(OsStr::from_bytes(dir));
                    options.hosts.push((host.to_owned(), dir));
                }
                _ => return Err(format!("--host {}: give NAME=DIR", word.display())),
            }
        }
        "--compress" => {
            options.compression = match text(parser, name)?.as_str() {
                "off" => Compression::Off,
                "fast" => Compression::Fast,
                "best" => Compression::Best,
                other => return Err(format!("--compress {other}: give off, fast or best")),
            }
        }
        "--no-clean-urls" => options.has_clean_urls = false,
        "--listing" => options.has_listing = true,
        "--hidden" => options.has_hidden = true,
        "--security-headers" => options.has_security_headers = true,
        "--cors" => {
            let origin = text(parser, name)?;
            if !is_origin(&origin) {
                return Err(format!(
                    "--cors {origin}: give an origin such as https://example.org, or *"
                ));
            }
            options.cors = Some(origin);
        }
        "--last-modified" => {
            // The last second of the year 9999, which is as far as HTTP's dates go.
            options.last_modified = Some(number(parser, name, 0..=253_402_300_799)?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Returns whether the text is an origin as it stands in Origin (RFC 6454 §7), or a star.
fn is_origin(text: &str) -> bool {
    let host = ["http://", "https://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]_".contains(&byte);
    text == "*" || host.is_some_and(|host| !host.is_empty() && host.bytes().all(is_host_byte))
}
