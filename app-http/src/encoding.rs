//! What is wanted of a page's codings (RFC 9110 §12.5.3); [`site`] chooses by it.
//!
//! Upstream: Accept-Encoding. Downstream: [`request`](crate::request) and [`usual`](crate::usual).

use site::{Coding, Codings, Wanted};

/// Thousandths of a weight of 1.
const FULL_WEIGHT: u16 = 1000;

/// How much a client wants each coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Weights {
    /// By coding, in thousandths; 0 is "not at all", `None` not said.
    weights: [Option<u16>; Coding::ALL.len()],
    /// Of all that is not named.
    others: Option<u16>,
}

/// Returns what a client takes that says `lists` in Accept-Encoding (nothing: there is none). The
/// codings with the highest weight are the most welcome. When nothing of what a page has is wanted,
/// it is sent as it is: the answer 406 would help nobody (§12.1).
pub fn wanted<'a>(lists: impl Iterator<Item = &'a [u8]>) -> Wanted {
    Weights::parse(lists).wanted()
}

impl Weights {
    fn parse<'a>(lists: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut weights = Weights {
            weights: [None; Coding::ALL.len()],
            others: None,
        };
        for list in lists {
            for element in list.split(|byte| *byte == b',') {
                weights.read(element.trim_ascii());
            }
        }
        weights
    }

    /// Reads one element; malformed ones count for nothing.
    fn read(&mut self, element: &[u8]) {
        let end = element.iter().position(|byte| *byte == b';');
        let (name, parameter) = element.split_at(end.unwrap_or(element.len()));
        let Some(weight) = weight(parameter) else {
            return;
        };
        let name = name.trim_ascii_end();
        if name == b"*" {
            self.others = Some(weight);
        } else if name.eq_ignore_ascii_case(b"x-gzip") {
            // RFC 9110 §8.4.1.3.
            self.weights[Coding::Gzip as usize] = Some(weight);
        } else if let Some(coding) = Coding::ALL
            .into_iter()
            .find(|coding| name.eq_ignore_ascii_case(coding.name().as_bytes()))
        {
            self.weights[coding as usize] = Some(weight);
        }
    }

    fn of(&self, coding: Coding) -> u16 {
        let said = self.weights[coding as usize].or(self.others);
        match coding {
            // Always wanted when nothing is said of it, but less than what is named.
            Coding::Identity => said.unwrap_or(1),
            _ => said.unwrap_or(0),
        }
    }

    /// Puts codings of the same weight together, those of the highest first.
    fn wanted(&self) -> Wanted {
        let mut sets = [Codings::default(); Coding::ALL.len()];
        let weights = Coding::ALL.map(|coding| self.of(coding));
        let mut above = u16::MAX;
        for set in &mut sets {
            let left = weights.into_iter().filter(|weight| *weight < above);
            above = left.max().unwrap_or(0);
            if above == 0 {
                break;
            }
            for (coding, weight) in Coding::ALL.into_iter().zip(weights) {
                if weight == above {
                    *set = set.with(coding);
                }
            }
        }
        Wanted::new(sets)
    }
}

/// Parses `;q=0.5` (RFC 9110 §12.4.2), or nothing, which is the full weight.
fn weight(parameter: &[u8]) -> Option<u16> {
    let Some(parameter) = parameter.strip_prefix(b";") else {
        return Some(FULL_WEIGHT);
    };
    let value = match parameter.trim_ascii() {
        [b'q' | b'Q', b'=', value @ ..] => value,
        _ => return None,
    };
    let (whole, fraction) = value.split_first()?;
    let digits = match fraction {
        [] => fraction,
        [b'.', digits @ ..] if digits.len() <= 3 => digits,
        _ => return None,
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let thousandths = (0..3).fold(0, |number, place| {
        number * 10 + digits.get(place).map_or(0, |digit| u16::from(digit - b'0'))
    });
    match (whole, thousandths) {
        (b'0', thousandths) => Some(thousandths),
        (b'1', 0) => Some(FULL_WEIGHT),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Returns the weights of identity, gzip, br and zstd.
    fn weights(lists: &[&str]) -> Vec<u16> {
        let weights = Weights::parse(lists.iter().map(|list| list.as_bytes()));
        Coding::ALL.map(|coding| weights.of(coding)).to_vec()
    }

    #[test]
    fn weights_are_read_as_they_are_written() {
        for (list, expected) in [
            ("", [1, 0, 0, 0]),
            ("gzip, deflate, br, zstd", [1, 1000, 1000, 1000]),
            ("GZIP;q=0.5,br;Q=1.000 , zstd ; q=0.001", [1, 500, 1000, 1]),
            ("*", [1000, 1000, 1000, 1000]),
            ("*;q=0", [0, 0, 0, 0]),
            ("*;q=0, gzip", [0, 1000, 0, 0]),
            ("identity;q=0, *;q=0.5", [0, 500, 500, 500]),
            ("identity;q=0", [0, 0, 0, 0]),
            ("x-gzip", [1, 1000, 0, 0]),
            ("gzip;q=0", [1, 0, 0, 0]),
            ("gzip;q=2,br;q=1.001,zstd;q=0.0001", [1, 0, 0, 0]),
            ("gzip;q=,br;q=a,zstd;x=1", [1, 0, 0, 0]),
            (",,;,gzip,,", [1, 1000, 0, 0]),
            ("gzipped, bro", [1, 0, 0, 0]),
        ] {
            assert_eq!(weights(&[list]), expected, "{list}");
        }
        assert_eq!(weights(&["gzip", "br;q=0.3"]), [1, 1000, 300, 0]);
    }
}
