//! The kernel command line, word by word: whoever knows a word takes it, and what nobody has taken
//! is an error.
//!
//! Words are separated by blanks and have the form `NAME=VALUE`. To boot with another setting than
//! the one asked for is worse than not to boot, so a value that cannot be and a word that nobody
//! knows are both told, by name. Left alone is what boot loaders and hypervisors add for a Linux
//! kernel: [`LOADER_WORDS`], and names with a dot, which are parameters of its modules.

use alloc::vec::Vec;
use core::fmt;

/// Names that boot loaders, hypervisors and habit put on the command line of a Linux kernel.
pub const LOADER_WORDS: [&str; 12] = [
    "BOOT_IMAGE",
    "console",
    "earlyprintk",
    "initrd",
    "nomodule",
    "panic",
    "pci",
    "quiet",
    "reboot",
    "ro",
    "root",
    "rw",
];

/// The words of a command line, and which of them have been taken.
#[derive(Debug)]
pub struct CommandLine<'a> {
    words: Vec<Word<'a>>,
    /// Names that were asked for.
    known: Vec<&'static str>,
}

#[derive(Debug, Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    is_taken: bool,
}

/// A word that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadWord<'a> {
    /// Its value is none of those wanted.
    Value {
        /// The word.
        word: &'a str,
        /// What would be right.
        wanted: &'static str,
    },
    /// Nobody knows it.
    Unknown {
        /// The word.
        word: &'a str,
        /// The names that somebody knows.
        known: Vec<&'static str>,
    },
}

impl fmt::Display for BadWord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadWord::Value { word, wanted } => write!(f, "{word}: wanted {wanted}"),
            BadWord::Unknown { word, known } => {
                write!(f, "{word}: no such option; there are")?;
                let mut separator = " ";
                for name in known {
                    write!(f, "{separator}{name}=")?;
                    separator = ", ";
                }
                Ok(())
            }
        }
    }
}

impl core::error::Error for BadWord<'_> {}

impl<'a> CommandLine<'a> {
    /// Cuts a command line into words.
    pub fn new(text: &'a str) -> Self {
        let word = |text| Word {
            text,
            is_taken: false,
        };
        CommandLine {
            words: text.split_ascii_whitespace().map(word).collect(),
            known: Vec::new(),
        }
    }

    /// Takes every word `name=VALUE` and returns what `parse` makes of the last one's value; `None`
    /// when there is no such word.
    ///
    /// # Errors
    /// [`BadWord::Value`] with the first word that `parse` makes nothing of; `wanted` says what it
    /// would take.
    pub fn take<T>(
        &mut self,
        name: &'static str,
        wanted: &'static str,
        parse: impl Fn(&'a str) -> Option<T>,
    ) -> Result<Option<T>, BadWord<'a>> {
        self.known.push(name);
        let mut last = None;
        for word in &mut self.words {
            let Some(value) = word
                .text
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('='))
            else {
                continue;
            };
            word.is_taken = true;
            let word = word.text;
            last = Some(parse(value).ok_or(BadWord::Value { word, wanted })?);
        }
        Ok(last)
    }

    /// Ends the taking: nothing of ours may be left.
    ///
    /// # Errors
    /// [`BadWord::Unknown`] with the first word that nobody took.
    pub fn finish(self) -> Result<(), BadWord<'a>> {
        let is_loaders = |word: &str| {
            let name = word.split('=').next().unwrap_or(word);
            name.contains('.') || LOADER_WORDS.contains(&name)
        };
        let mut words = self.words.iter();
        match words.find(|word| !word.is_taken && !is_loaders(word.text)) {
            None => Ok(()),
            Some(word) => Err(BadWord::Unknown {
                word: word.text,
                known: self.known,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn the_last_of_equal_words_counts_and_each_must_parse() {
        let mut line = CommandLine::new(" a=1  b=2\ta=3 ");
        let number = |value: &str| value.parse::<u32>().ok();
        assert_eq!(line.take("a", "a number", number), Ok(Some(3)));
        assert_eq!(line.take("c", "a number", number), Ok(None));
        assert_eq!(line.take("b", "a number", number), Ok(Some(2)));
        assert_eq!(line.finish(), Ok(()));
        let mut line = CommandLine::new("a=x a=1");
        let error = line.take("a", "a number", number).unwrap_err();
        assert_eq!(error.to_string(), "a=x: wanted a number");
    }

    #[test]
    fn what_nobody_takes_is_an_error_that_names_it_and_what_there_is() {
        let mut line = CommandLine::new("prot=8080");
        assert_eq!(line.take("port", "a port", |_| Some(())), Ok(None));
        assert_eq!(line.take("ip", "an address", |_| Some(())), Ok(None));
        let error = line.finish().unwrap_err().to_string();
        assert_eq!(error, "prot=8080: no such option; there are port=, ip=");
        for line in ["port", "foo", "=", "portly=1"] {
            let error = CommandLine::new(line).finish().unwrap_err();
            assert!(error.to_string().starts_with(line), "{error}");
        }
    }

    #[test]
    fn what_boot_loaders_add_is_left_alone() {
        let line = "BOOT_IMAGE=/sluice.elf console=ttyS0 quiet reboot=k panic=1 pci=off nomodule \
            root=/dev/vda ro virtio_mmio.device=512@0xfeb00000:5 8250.nr_uarts=0";
        assert_eq!(CommandLine::new(line).finish(), Ok(()));
        assert_eq!(CommandLine::new("").finish(), Ok(()));
    }
}
