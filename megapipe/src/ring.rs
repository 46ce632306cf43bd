//! A bounded first-in first-out ring whose memory is taken once.
//!
//! Both sides are on one core, so the ring is a plain value without atomics. Used by the channel
//! for commands, ready handles, accepted connections and handles that wait for a buffer.
//! Invariant: never holds more than the capacity it was made with, and so never allocates again.

use alloc::boxed::Box;

/// A bounded ring; a full one gives the item back.
pub(crate) struct Ring<T> {
    /// A power of two of places, at least `capacity`.
    places: Box<[Option<T>]>,
    capacity: usize,
    /// Items taken since the start, wrapping; the oldest is at this place.
    taken: usize,
    len: usize,
}

impl<T> Ring<T> {
    /// Makes an empty ring of `capacity` places.
    pub(crate) fn new(capacity: usize) -> Self {
        let places = capacity.max(1).next_power_of_two();
        Ring {
            places: (0..places).map(|_| None).collect(),
            capacity,
            taken: 0,
            len: 0,
        }
    }

    /// Appends an item, or gives it back when all places are taken.
    #[inline]
    pub(crate) fn push(&mut self, item: T) -> Result<(), T> {
        if self.is_full() {
            return Err(item);
        }
        let place = self.place(self.taken.wrapping_add(self.len));
        self.places[place] = Some(item);
        self.len += 1;
        Ok(())
    }

    /// Takes the oldest item.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<T> {
        if self.len == 0 {
            return None;
        }
        let place = self.place(self.taken);
        self.taken = self.taken.wrapping_add(1);
        self.len -= 1;
        self.places[place].take()
    }

    /// Looks at the oldest item.
    #[inline]
    pub(crate) fn front(&self) -> Option<&T> {
        if self.len == 0 {
            return None;
        }
        self.places[self.place(self.taken)].as_ref()
    }

    /// Returns the items in the ring.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there is no item.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns whether all places are taken.
    pub(crate) fn is_full(&self) -> bool {
        self.len >= self.capacity
    }

    #[inline]
    fn place(&self, position: usize) -> usize {
        position & (self.places.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::Ring;

    #[test]
    fn a_full_ring_gives_the_item_back_and_keeps_the_order() {
        let mut ring = Ring::new(3);
        for round in 0..10 {
            for item in 0..3 {
                assert_eq!(ring.push(round + item), Ok(()));
            }
            assert_eq!(ring.push(100), Err(100));
            assert_eq!((ring.front(), ring.len()), (Some(&round), 3));
            assert_eq!([ring.pop(), ring.pop()], [Some(round), Some(round + 1)]);
            assert_eq!(ring.push(200), Ok(()));
            assert_eq!(
                [ring.pop(), ring.pop(), ring.pop()],
                [Some(round + 2), Some(200), None]
            );
            assert!(ring.is_empty() && ring.front().is_none());
        }
    }

    #[test]
    fn a_ring_of_no_places_takes_nothing() {
        assert_eq!(Ring::new(0).push('x'), Err('x'));
    }
}
