//! Bytes lent with whatever keeps them in place: the one form in which memory waits to be sent,
//! whoever it belongs to.
//!
//! Five words, moved without a look at what is behind them: where the bytes are, their owner, and
//! how it is dropped (not at all, for what lasts for ever). Upstream: static memory, buffers of a
//! pool, counted memory. Downstream: send queues. Invariant: the bytes stay at their place and
//! unchanged until the value is dropped, and then the owner is dropped, once.

use core::fmt;
use core::mem::MaybeUninit;
use core::ops::Range;
use core::ptr::NonNull;

/// Words that an owner may have.
const OWNER_WORDS: usize = 2;

/// Memory for an owner; moved as it is.
type OwnerWords = [MaybeUninit<usize>; OWNER_WORDS];

const NOBODY: OwnerWords = [MaybeUninit::uninit(); OWNER_WORDS];

/// Bytes that stay where they are until this is dropped. Not to be sent to another core, because
/// the owner may not.
pub struct LentBytes {
    bytes: NonNull<[u8]>,
    owner: OwnerWords,
    /// Drops the owner; `None` when there is none, and the bytes last for ever.
    end: Option<unsafe fn(*mut OwnerWords)>,
}

impl LentBytes {
    /// Lends memory that lasts for ever.
    #[inline]
    pub const fn from_static(bytes: &'static [u8]) -> Self {
        LentBytes {
            bytes: NonNull::from_ref(bytes),
            owner: NOBODY,
            end: None,
        }
    }

    /// Lends the bytes of an owner of two words or less (else it does not compile), such as an `Rc`,
    /// an `Arc` or a box, which is dropped afterwards.
    ///
    /// # Panics
    /// When the bytes lie in the owner itself: then they would move with it.
    #[inline]
    pub fn from_owner<O: AsRef<[u8]> + 'static>(owner: O) -> Self {
        Self::hold(owner, |bytes| Some(bytes)).unwrap_or_default()
    }

    /// Lends a part of an owner's bytes, like [`from_owner`](Self::from_owner). `None` when it does
    /// not have that part; then the owner is dropped.
    ///
    /// # Panics
    /// As `from_owner` does.
    #[inline]
    pub fn from_part<O: AsRef<[u8]> + 'static>(owner: O, part: Range<usize>) -> Option<Self> {
        Self::hold(owner, |bytes| bytes.get(part))
    }

    #[inline]
    fn hold<O: AsRef<[u8]> + 'static>(
        owner: O,
        choose: impl FnOnce(&[u8]) -> Option<&[u8]>,
    ) -> Option<Self> {
        const {
            assert!(size_of::<O>() <= size_of::<OwnerWords>());
            assert!(align_of::<O>() <= align_of::<OwnerWords>());
        }
        let bytes = NonNull::from_ref(choose(owner.as_ref())?);
        let distance = bytes.addr().get().wrapping_sub((&raw const owner).addr());
        assert!(
            distance >= size_of::<O>(),
            "the bytes move with their owner"
        );
        let mut words = NOBODY;
        // SAFETY: (1) the words have room for an `O` and its alignment, as asserted when compiling;
        // (2) nothing was there that would have to be dropped.
        unsafe { words.as_mut_ptr().cast::<O>().write(owner) };
        Some(LentBytes {
            bytes,
            owner: words,
            end: Some(drop_owner::<O>),
        })
    }

    /// Returns the bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `bytes` was made from a reference that the owner gave out for as long as it is
        // there, unmoved and not lent mutably. (1) It is there until `drop`. (2) Nobody reaches it
        // before: it is in words that only `drop` looks into. (3) That those words move does not
        // move the bytes, which lie elsewhere, as was asserted. Without an owner they are static.
        unsafe { self.bytes.as_ref() }
    }

    /// Takes the bytes and their owner out, and leaves no bytes.
    #[inline]
    pub fn take(&mut self) -> Self {
        // From here on nobody is left to be dropped, and so no bytes may be either.
        let end = self.end.take();
        let bytes = core::mem::replace(&mut self.bytes, NonNull::from_ref(&[]));
        let owner = self.owner;
        LentBytes { bytes, owner, end }
    }

    /// Returns the bytes if they last for ever.
    #[inline]
    pub fn lasting(&self) -> Option<&'static [u8]> {
        match self.end {
            // SAFETY: without an owner, they came from `from_static`.
            None => Some(unsafe { self.bytes.as_ref() }),
            Some(_) => None,
        }
    }
}

impl Drop for LentBytes {
    #[inline]
    fn drop(&mut self) {
        if let Some(end) = self.end {
            // SAFETY: `end` is of the type of what is in the words, and this is the only call.
            unsafe { end(&raw mut self.owner) }
        }
    }
}

/// # Safety
/// An `O` is in the words, and it is not used afterwards.
unsafe fn drop_owner<O>(words: *mut OwnerWords) {
    // SAFETY: as promised by the caller.
    unsafe { words.cast::<O>().drop_in_place() }
}

impl Default for LentBytes {
    /// No bytes.
    #[inline]
    fn default() -> Self {
        LentBytes::from_static(&[])
    }
}

impl fmt::Debug for LentBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.end {
            None => "static",
            Some(_) => "owned",
        };
        write!(f, "LentBytes({} bytes, {kind})", self.bytes().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;
    use alloc::rc::Rc;
    use alloc::sync::Arc;
    use core::cell::Cell;
    use std::vec;

    struct Counting(Box<[u8; 3]>, Rc<Cell<u32>>);

    impl AsRef<[u8]> for Counting {
        fn as_ref(&self) -> &[u8] {
            &*self.0
        }
    }

    impl Drop for Counting {
        fn drop(&mut self) {
            self.1.set(self.1.get() + 1);
        }
    }

    #[test]
    fn an_owner_is_dropped_once_however_often_its_bytes_moved() {
        let dropped = Rc::new(Cell::new(0));
        let owner = Counting(Box::new([1, 2, 3]), Rc::clone(&dropped));
        let mut places = vec![LentBytes::from_owner(owner)];
        for _ in 0..10 {
            let moved = places.pop().unwrap();
            assert_eq!((moved.bytes(), moved.lasting()), (&[1, 2, 3][..], None));
            places.push(LentBytes::default());
            places.push(moved);
        }
        assert_eq!(dropped.get(), 0);
        drop(places);
        assert_eq!((dropped.get(), Rc::strong_count(&dropped)), (1, 1));
    }

    #[test]
    fn what_is_taken_leaves_no_bytes_and_no_owner() {
        let dropped = Rc::new(Cell::new(0));
        let mut place = LentBytes::from_owner(Counting(Box::new([1, 2, 3]), Rc::clone(&dropped)));
        let taken = place.take();
        assert_eq!((place.bytes(), place.lasting()), (&b""[..], Some(&b""[..])));
        drop(place);
        assert_eq!((taken.bytes(), dropped.get()), (&[1, 2, 3][..], 0));
        drop(taken);
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn counted_memory_is_counted_until_it_is_dropped() {
        let memory: Rc<[u8]> = Rc::from(&b"hello world"[..]);
        let lent = LentBytes::from_part(Rc::clone(&memory), 6..11).unwrap();
        assert_eq!(
            (lent.bytes(), Rc::strong_count(&memory)),
            (&b"world"[..], 2)
        );
        assert!(LentBytes::from_part(Rc::clone(&memory), 6..12).is_none());
        assert_eq!(Rc::strong_count(&memory), 2);
        drop(memory);
        assert_eq!(lent.bytes(), b"world");
        let shared: Arc<[u8]> = Arc::from(&[7; 100][..]);
        let lent = LentBytes::from_owner(Arc::clone(&shared));
        assert_eq!((lent.bytes().len(), Arc::strong_count(&shared)), (100, 2));
        drop(lent);
        assert_eq!(Arc::strong_count(&shared), 1);
        assert_eq!(LentBytes::from_owner(shared).bytes(), [7; 100]);
    }

    #[test]
    #[should_panic(expected = "the bytes move with their owner")]
    fn an_owner_with_its_bytes_inside_is_refused() {
        struct Inside([u8; 8]);
        impl AsRef<[u8]> for Inside {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        drop(LentBytes::from_owner(Inside([1; 8])));
    }

    #[test]
    fn static_memory_has_no_owner() {
        let lent = LentBytes::from_static(b"for ever");
        let lasting = lent.lasting();
        drop(lent);
        assert_eq!(lasting, Some(&b"for ever"[..]));
        assert_eq!(size_of::<LentBytes>(), 5 * size_of::<usize>());
        assert_eq!(LentBytes::default().bytes(), b"");
    }
}
