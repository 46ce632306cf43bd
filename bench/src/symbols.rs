//! Names for the addresses of an image: the functions that an instruction is of, inlined ones too,
//! and the crates they are from. Upstream: the image's debug ELF. Downstream: [`profile`](crate::profile).

use crate::Error;
use addr2line::Loader;
use std::path::Path;

/// One of the functions that an instruction is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Its name.
    pub(crate) function: String,
    /// The source file, from the folder of its crate's checkout on.
    pub(crate) file: String,
    /// The line in it, 0 if that is not known.
    pub(crate) line: u32,
}

impl Frame {
    /// Returns the crate: the name and version of a dependency, `core` and its like, or the folder of
    /// one of this checkout.
    pub(crate) fn origin(&self) -> &str {
        let folders = self.file.strip_prefix("library/").unwrap_or(&self.file);
        match folders.find("/src/") {
            Some(end) => &folders[..end],
            None => folders.split('/').next().unwrap_or(folders),
        }
    }

    /// Returns whether it is of the standard library, which others are made of.
    pub(crate) fn is_of_library(&self) -> bool {
        self.file.starts_with("library/")
    }
}

/// The debug ELF of an image.
pub(crate) struct Symbols(Loader);

impl Symbols {
    pub(crate) fn read(debug_elf: &Path) -> Result<Self, Error> {
        let loader = Loader::new(debug_elf);
        let loader = loader.map_err(|error| format!("{}: {error}", debug_elf.display()))?;
        Ok(Symbols(loader))
    }

    /// Returns the functions that the instruction at `address` is of, the innermost first; at least
    /// one.
    pub(crate) fn frames(&self, address: u64) -> Vec<Frame> {
        let mut found = Vec::new();
        if let Ok(mut frames) = self.0.find_frames(address) {
            while let Ok(Some(frame)) = frames.next() {
                let name = frame.function.as_ref();
                let name = name.and_then(|name| name.demangle().ok());
                let location = frame.location.as_ref();
                found.push(Frame {
                    function: plain(name.as_deref().unwrap_or("?")).to_owned(),
                    file: location
                        .and_then(|location| location.file)
                        .map_or("?", short)
                        .to_owned(),
                    line: location.and_then(|location| location.line).unwrap_or(0),
                });
            }
        }
        if found.is_empty() {
            let symbol = self.0.find_symbol(address).unwrap_or("?");
            let name = addr2line::demangle_auto(symbol.into(), None);
            found.push(Frame {
                function: plain(&name).to_owned(),
                file: "?".to_owned(),
                line: 0,
            });
        }
        found
    }
}

/// Cuts the hash and what it is generic over off a function's name.
fn plain(name: &str) -> &str {
    let is_hash = |tail: &str| tail.len() == 16 && tail.bytes().all(|b| b.is_ascii_hexdigit());
    let name = match name.rsplit_once("::h") {
        Some((name, tail)) if is_hash(tail) => name,
        _ => name,
    };
    // A name that begins with one is of an implementation.
    match name.find('<') {
        Some(end @ 1..) if name.ends_with('>') => &name[..end],
        _ => name,
    }
}

/// Cuts the folders of the compiling machine off a path.
fn short(path: &str) -> &str {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    let top = root.strip_suffix("bench/").unwrap_or(root);
    if let Some(own) = path.strip_prefix(top) {
        return own;
    }
    if let Some(at) = path.find("/library/") {
        return &path[at + 1..];
    }
    // …/registry/src/INDEX/NAME-VERSION/src/…
    let behind = path.split_once("/registry/src/").map(|(_, behind)| behind);
    behind
        .and_then(|behind| behind.split_once('/'))
        .map_or(path, |(_, file)| file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(path: &str) -> Frame {
        Frame {
            function: "f".to_owned(),
            file: short(path).to_owned(),
            line: 1,
        }
    }

    #[test]
    fn a_crate_is_told_by_the_path_of_its_file() {
        let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../net/src/tcp/input.rs");
        let own = own.replace("bench/../", "");
        let cases = [
            (own.as_str(), "net", "net/src/tcp/input.rs"),
            ("net/src/flow.rs", "net", "net/src/flow.rs"),
            (
                "bench/sockets/src/lib.rs",
                "bench/sockets",
                "bench/sockets/src/lib.rs",
            ),
            (
                "/home/me/.cargo/registry/src/index.crates.io-1949/smoltcp-0.14.0/src/wire/ip.rs",
                "smoltcp-0.14.0",
                "smoltcp-0.14.0/src/wire/ip.rs",
            ),
            (
                "/rustc/0123/library/core/src/num/mod.rs",
                "core",
                "library/core/src/num/mod.rs",
            ),
            ("?", "?", "?"),
        ];
        for (path, origin, file) in cases {
            let frame = frame(path);
            assert_eq!((frame.origin(), frame.file.as_str()), (origin, file));
            assert_eq!(frame.is_of_library(), origin == "core");
        }
    }

    #[test]
    fn a_name_is_told_without_its_hash_and_its_types() {
        assert_eq!(
            plain("net::flow::hash::h0123456789abcdef"),
            "net::flow::hash"
        );
        assert_eq!(plain("net::flow::hash"), "net::flow::hash");
        assert_eq!(plain("net::flow::half"), "net::flow::half");
        assert_eq!(plain("process<net::Nic, u8>"), "process");
        assert_eq!(
            plain("<u8 as net::Lent>::bytes"),
            "<u8 as net::Lent>::bytes"
        );
    }

    #[test]
    fn functions_of_this_program_are_found_by_their_addresses() {
        let this = std::env::current_exe().unwrap();
        let symbols = Symbols::read(&this).unwrap();
        // Looked up is the ELF's own address, and the program lies where the loader has put it.
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let (base, _) = maps.split_once('-').unwrap();
        let base = u64::from_str_radix(base, 16).unwrap();
        let address = Symbols::read as *const () as u64 - base;
        assert_eq!(
            symbols.frames(address)[0].function,
            "sluice_bench::symbols::Symbols::read"
        );
    }
}
