//! When one side of a ring must tell the other: VirtIO 1.2 §2.7.7 and §2.7.10, as pure arithmetic.

/// Returns whether indices that moved from `old` to `new` passed `event`, so that the side that
/// asked for `event` must be told (VirtIO 1.2 §2.7.7.2 and §2.7.10.1, `vring_need_event`).
///
/// All three are free-running 16-bit indices. `event` is to be read after a full fence that follows
/// the store of `new`: without it both sides can miss each other.
pub const fn event_was_passed(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the rule means: `event` is one of the `batch` indices `old, old + 1, … new - 1`.
    fn is_in_batch(event: u16, old: u16, batch: u16) -> bool {
        event.wrapping_sub(old) < batch
    }

    #[test]
    #[cfg_attr(miri, ignore = "arithmetic over its whole domain, and no memory")]
    fn every_old_index_with_every_batch_at_the_edges() {
        for old in 0..=u16::MAX {
            for batch in (0..=257).chain([0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff]) {
                let new = old.wrapping_add(batch);
                for event in [
                    old.wrapping_sub(1),
                    old,
                    old.wrapping_add(1),
                    new.wrapping_sub(2),
                    new.wrapping_sub(1),
                    new,
                    new.wrapping_add(1),
                    old.wrapping_add(0x8000),
                ] {
                    assert_eq!(
                        event_was_passed(event, new, old),
                        is_in_batch(event, old, batch),
                        "event {event} new {new} old {old}"
                    );
                }
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "arithmetic over its whole domain, and no memory")]
    fn every_event_with_every_batch() {
        for old in [0, 1, 0x7fff, 0x8000, 0xff80, 0xffff_u16] {
            for batch in (0..=u16::MAX).step_by(251).chain(0..=16) {
                let new = old.wrapping_add(batch);
                for event in 0..=u16::MAX {
                    assert_eq!(
                        event_was_passed(event, new, old),
                        is_in_batch(event, old, batch)
                    );
                }
            }
        }
    }
}
