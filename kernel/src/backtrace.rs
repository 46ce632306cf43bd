//! The way back through a stack whose functions keep frame pointers: each points to the caller's, with
//! the return address behind it.
//!
//! Downstream: the crash report. A damaged stack gives a short list, never a read outside of it.

use core::ops::Range;

/// Bytes of a frame's two words.
const FRAME_BYTES: usize = 16;

/// Walks the frames from `frame_pointer` as long as they go up inside of `stack`, and returns their
/// return addresses. `read` is asked for two words at addresses that are inside, and multiples of 8.
pub(crate) fn return_addresses(
    frame_pointer: usize,
    stack: Range<usize>,
    read: impl Fn(usize) -> [usize; 2],
) -> impl Iterator<Item = usize> {
    let mut next_frame = Some(frame_pointer);
    core::iter::from_fn(move || {
        let frame = next_frame.take()?;
        let last = stack.end.checked_sub(FRAME_BYTES)?;
        if !frame.is_multiple_of(8) || !(stack.start..=last).contains(&frame) {
            return None;
        }
        let [caller, return_address] = read(frame);
        next_frame = Some(caller).filter(|caller| *caller > frame);
        Some(return_address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Walks a stack at 0x1000 of these words.
    fn walk(words: &[usize], frame_pointer: usize) -> Vec<usize> {
        let stack = 0x1000..0x1000 + words.len() * 8;
        let read = |frame: usize| {
            let index = (frame - 0x1000) / 8;
            [words[index], words[index + 1]]
        };
        return_addresses(frame_pointer, stack, read).collect()
    }

    #[test]
    fn callers_are_told_from_the_innermost_out() {
        let words = [0x1018, 1, 0, 0x1028, 2, 0, 3];
        assert_eq!(walk(&words, 0x1000), [1, 2, 3]);
        // The outermost frame points to nothing.
        assert_eq!(walk(&[0x1010, 1, 0, 2], 0x1000), [1, 2]);
    }

    #[test]
    fn a_frame_pointer_from_anywhere_is_not_followed_out_of_the_stack() {
        let words = [usize::MAX, 7, 0x1000, 8];
        for outside in [
            0,
            0xff8,
            0x1001,
            0x1018,
            0x1020,
            usize::MAX,
            usize::MAX - 7,
            usize::MAX - 15,
        ] {
            assert_eq!(walk(&words, outside), [], "{outside:#x}");
        }
        assert_eq!(walk(&words, 0x1000), [7]);
        // Nor in a circle.
        assert_eq!(walk(&words, 0x1010), [8]);
        assert_eq!(walk(&[], 0), []);
        assert_eq!(walk(&[], usize::MAX - 7), []);
        assert_eq!(walk(&[0x1000], 0x1000), []);
    }
}
