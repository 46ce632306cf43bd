//! What a segment changed on its connection, as bits: the stack follows each without looking at the
//! connection again.
//!
//! Upstream: [`input`](super::input). Downstream: the stack's ingress.

/// What a segment changed, for the stack to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct News(u8);

impl News {
    /// The handshake is complete.
    pub(crate) const ESTABLISHED: News = News(1);
    /// Bytes can be read, or the peer has finished.
    pub(crate) const READABLE: News = News(2);
    /// Pieces were given back: there is room to send.
    pub(crate) const ROOM: News = News(4);
    /// The connection is over, or in TIME-WAIT.
    pub(crate) const OVER: News = News(8);
    /// The sender does not know this connection: it is to be reset, as by a closed port.
    pub(crate) const STRANGER: News = News(16);
    /// The segment was out of place, and counted as such.
    pub(crate) const OUT_OF_PLACE: News = News(32);

    /// What is not everyday.
    pub(crate) const RARE: News = News(1 | 8 | 16 | 32);

    #[inline]
    pub(super) fn add(&mut self, other: News) {
        self.0 |= other.0;
    }

    #[inline]
    pub(crate) fn has(self, other: News) -> bool {
        self.0 & other.0 != 0
    }
}
