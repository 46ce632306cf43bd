//! A bounded first-in first-out ring whose memory is taken once.
//!
//! Both sides are on one core, so the ring is a plain value without atomics. Used by the channel
//! for commands, ready handles, accepted connections and handles that wait for a buffer.
//! Invariant: never holds more than the capacity it was made with, and so never allocates again.

use alloc::collections::VecDeque;

/// A bounded ring; a full one gives the item back.
pub(crate) struct Ring<T> {
    items: VecDeque<T>,
    capacity: usize,
}

impl<T> Ring<T> {
    /// Makes an empty ring of `capacity` places.
    pub(crate) fn new(capacity: usize) -> Self {
        Ring {
            items: VecDeque::with_capacity(capacity),
            capacity,
        }
    }

    /// Appends an item, or gives it back when all places are taken.
    pub(crate) fn push(&mut self, item: T) -> Result<(), T> {
        if self.is_full() {
            return Err(item);
        }
        self.items.push_back(item);
        Ok(())
    }

    /// Takes the oldest item.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.items.pop_front()
    }

    /// Looks at the oldest item.
    pub(crate) fn front(&self) -> Option<&T> {
        self.items.front()
    }

    /// Returns the items in the ring.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns whether there is no item.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns whether all places are taken.
    pub(crate) fn is_full(&self) -> bool {
        self.items.len() >= self.capacity
    }
}

#[cfg(test)]
mod tests {
    use super::Ring;

    #[test]
    fn a_full_ring_gives_the_item_back_and_keeps_the_order() {
        let mut ring = Ring::new(2);
        let memory = ring.items.capacity();
        assert_eq!(ring.push(1), Ok(()));
        assert_eq!(ring.push(2), Ok(()));
        assert_eq!(ring.push(3), Err(3));
        assert_eq!(ring.pop(), Some(1));
        assert_eq!(ring.push(4), Ok(()));
        assert_eq!(
            (ring.pop(), ring.pop(), ring.pop()),
            (Some(2), Some(4), None)
        );
        assert_eq!(ring.items.capacity(), memory);
    }

    #[test]
    fn a_ring_of_no_places_takes_nothing() {
        assert_eq!(Ring::new(0).push('x'), Err('x'));
    }
}
