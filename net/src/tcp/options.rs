//! TCP options, read and written: segment size, window scale, selective acknowledgements,
//! timestamps (RFC 9293 §3.2, RFC 7323, RFC 2018). smoltcp's wire types do all but the one layout
//! that nearly every segment has.

use super::seq::Seq;
use crate::limits::SACK_BLOCKS;
use core::ops::Range;
use heapless::Vec;
use smoltcp::wire::TcpOption;

/// Most bytes of options that a header holds (RFC 9293 §3.1: 15 words less the fixed five).
pub(crate) const OPTIONS_MAX_BYTES: usize = 40;
/// Bytes of a timestamp option with its padding (RFC 7323, appendix A).
pub(crate) const TIMESTAMPS_BYTES: usize = 12;
/// Two no-operations, then kind and length of a timestamp option.
const TIMESTAMPS_HEAD: [u8; 4] = [1, 1, 8, 10];
/// Largest window scale (RFC 7323 §2.3); a larger one counts as this.
const WINDOW_SCALE_MAX: u8 = 14;

/// What a segment's options say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Options {
    /// Largest segment that the sender of a SYN takes.
    pub(crate) mss: Option<u16>,
    pub(crate) window_scale: Option<u8>,
    pub(crate) sack_permitted: bool,
    /// The sender's clock, and what it last saw of ours.
    pub(crate) timestamps: Option<(u32, u32)>,
    /// What the sender has received beyond a gap.
    pub(crate) sack: Vec<Range<Seq>, 4>,
}

impl Options {
    /// Reads options; what comes behind a malformed one is ignored.
    pub(crate) fn parse(mut bytes: &[u8]) -> Self {
        let mut options = Options::default();
        while let Ok((rest, option)) = TcpOption::parse(bytes) {
            match option {
                TcpOption::EndOfList => break,
                TcpOption::MaxSegmentSize(mss) => options.mss = Some(mss),
                TcpOption::WindowScale(shift) => {
                    options.window_scale = Some(shift.min(WINDOW_SCALE_MAX));
                }
                TcpOption::SackPermitted => options.sack_permitted = true,
                TcpOption::TimeStamp { tsval, tsecr } => options.timestamps = Some((tsval, tsecr)),
                TcpOption::SackRange(ranges) => {
                    let ranges = ranges.into_iter().flatten();
                    let ranges = ranges.map(|(start, end)| Seq(start)..Seq(end));
                    options.sack = ranges
                        .filter(|range| range.start.is_before(range.end))
                        .collect();
                }
                TcpOption::NoOperation | TcpOption::Unknown { .. } => {}
            }
            bytes = rest;
        }
        options
    }
}

/// Reads options that are timestamps alone, in the layout that everybody uses; `None` for others.
#[inline]
pub(crate) fn timestamps_alone(bytes: &[u8]) -> Option<(u32, u32)> {
    let [a, b, c, d, rest @ ..] = bytes.as_array::<TIMESTAMPS_BYTES>()?;
    if [*a, *b, *c, *d] != TIMESTAMPS_HEAD {
        return None;
    }
    let [value, echo] = *rest.as_chunks::<4>().0 else {
        return None;
    };
    Some((u32::from_be_bytes(value), u32::from_be_bytes(echo)))
}

/// Options to be sent, padded to whole words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OptionBytes {
    bytes: [u8; OPTIONS_MAX_BYTES],
    len: u8,
}

impl OptionBytes {
    /// No options.
    pub(crate) const NONE: OptionBytes = OptionBytes {
        bytes: [1; OPTIONS_MAX_BYTES],
        len: 0,
    };

    /// Returns the options of a SYN.
    pub(crate) fn of_syn(options: &Options) -> Self {
        let mut out = Self::NONE;
        if let Some((value, echo)) = options.timestamps {
            out.push_timestamps(value, echo);
        }
        if let Some(mss) = options.mss {
            out.push(&TcpOption::MaxSegmentSize(mss));
        }
        if options.sack_permitted {
            out.push(&TcpOption::SackPermitted);
        }
        if let Some(shift) = options.window_scale {
            out.push(&TcpOption::WindowScale(shift));
        }
        out
    }

    /// Adds timestamps, which come first.
    #[inline]
    pub(crate) fn push_timestamps(&mut self, value: u32, echo: u32) {
        self.bytes[..4].copy_from_slice(&TIMESTAMPS_HEAD);
        self.bytes[4..8].copy_from_slice(&value.to_be_bytes());
        self.bytes[8..12].copy_from_slice(&echo.to_be_bytes());
        self.len = TIMESTAMPS_BYTES as u8;
    }

    /// Adds selective acknowledgements, as many as there is room for.
    pub(crate) fn push_sack(&mut self, blocks: &[Range<Seq>]) {
        const BLOCK_BYTES: usize = 8;
        let room = (OPTIONS_MAX_BYTES - usize::from(self.len) - 4) / BLOCK_BYTES;
        let mut ranges = [None; SACK_BLOCKS];
        for (range, block) in ranges.iter_mut().zip(blocks).take(room) {
            *range = Some((block.start.0, block.end.0));
        }
        self.push(&TcpOption::SackRange(ranges));
    }

    /// Adds an option, padded in front to whole words.
    fn push(&mut self, option: &TcpOption<'_>) {
        let start = usize::from(self.len) + option.buffer_len().wrapping_neg() % 4;
        option.emit(&mut self.bytes[start..]);
        self.len = (start + option.buffer_len()) as u8;
    }

    /// Returns the bytes, a multiple of four.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_are_written_are_read() {
        let options = Options {
            mss: Some(1460),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: Some((0x0102_0304, 0x0506_0708)),
            sack: Vec::new(),
        };
        let bytes = OptionBytes::of_syn(&options);
        assert_eq!(bytes.bytes().len(), 24);
        assert_eq!(Options::parse(bytes.bytes()), options);
        let small = Options {
            mss: Some(536),
            ..Options::default()
        };
        assert_eq!(OptionBytes::of_syn(&small).bytes(), [2, 4, 2, 24]);
    }

    #[test]
    fn timestamps_alone_are_read_the_short_way() {
        let mut bytes = OptionBytes::NONE;
        bytes.push_timestamps(7, u32::MAX);
        assert_eq!(timestamps_alone(bytes.bytes()), Some((7, u32::MAX)));
        assert_eq!(
            Options::parse(bytes.bytes()).timestamps,
            Some((7, u32::MAX))
        );
        assert_eq!(timestamps_alone(&bytes.bytes()[..8]), None);
        assert_eq!(timestamps_alone(&[0; 12]), None);
    }

    #[test]
    fn as_many_blocks_are_told_as_fit() {
        let blocks = [Seq(1)..Seq(2), Seq(5)..Seq(9), Seq(11)..Seq(12)];
        let mut bytes = OptionBytes::NONE;
        bytes.push_timestamps(1, 2);
        bytes.push_sack(&blocks);
        assert_eq!(bytes.bytes().len(), 40);
        assert_eq!(Options::parse(bytes.bytes()).sack, blocks);
        assert_eq!(bytes.bytes()[12..14], [1, 1], "padded in front");
    }

    #[test]
    fn malformed_options_end_the_list_and_nothing_more() {
        for bytes in [
            &[2u8, 0][..],
            &[2, 3, 1],
            &[8, 10, 1],
            &[5],
            &[3, 200, 1, 1],
            &[5, 9, 0, 0],
        ] {
            let mut all = [1u8; 40];
            all[..4].copy_from_slice(&[2, 4, 5, 0xb4]);
            all[4..4 + bytes.len()].copy_from_slice(bytes);
            let options = Options::parse(&all[..4 + bytes.len()]);
            assert_eq!(options.mss, Some(1460), "{bytes:?}");
        }
        assert_eq!(Options::parse(&[3, 3, 200]).window_scale, Some(14));
        let turned = [5, 10, 0, 0, 0, 9, 0, 0, 0, 1];
        assert!(Options::parse(&turned).sack.is_empty());
    }
}
