//! One connection: a smoltcp TCP socket, alone in its set, made once and used again and again.

use crate::limits::{ACK_DELAY, HALF_OPEN_TIMEOUT, USER_TIMEOUT};
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::wire::{IpAddress, IpListenEndpoint};

/// A connection's socket.
pub(crate) struct Socket {
    set: SocketSet<'static>,
    handle: SocketHandle,
}

/// How far a connection is: RFC 9293's states, as far as the stack tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waiting for the SYN it was made for, or back there after a RST.
    Listening,
    /// SYN-RECEIVED.
    HalfOpen,
    /// ESTABLISHED and CLOSE-WAIT: this side may send.
    Open,
    /// FIN-WAIT-1, CLOSING and LAST-ACK: this side's FIN is on its way.
    Finishing,
    /// FIN-WAIT-2: this side has finished, the peer has not.
    PeerOpen,
    /// TIME-WAIT.
    TimeWait,
    /// CLOSED, perhaps with a RST still to be sent.
    Closed,
}

/// What [`Socket::receive`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// So many bytes, more than none.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// The peer has finished sending, and everything has been read.
    Finished,
    /// The connection broke, and everything that came before has been read.
    Broken,
}

impl Socket {
    /// Makes a closed socket over its buffers.
    pub(crate) fn new(rx_buffer: &'static mut [u8], tx_buffer: &'static mut [u8]) -> Self {
        let rx_buffer = tcp::SocketBuffer::new(rx_buffer);
        let tx_buffer = tcp::SocketBuffer::new(tx_buffer);
        let mut socket = tcp::Socket::new(rx_buffer, tx_buffer);
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(Some(duration(ACK_DELAY)));
        let mut set = SocketSet::new(Vec::with_capacity(1));
        let handle = set.add(socket);
        Socket { set, handle }
    }

    pub(super) fn set(&self) -> &SocketSet<'static> {
        &self.set
    }

    pub(super) fn set_mut(&mut self) -> &mut SocketSet<'static> {
        &mut self.set
    }

    #[inline]
    fn tcp(&self) -> &tcp::Socket<'static> {
        self.set.get(self.handle)
    }

    #[inline]
    fn tcp_mut(&mut self) -> &mut tcp::Socket<'static> {
        self.set.get_mut(self.handle)
    }

    /// Makes the socket ready for one SYN to `address` and `port`, whatever it was before; it
    /// must be over. Returns whether it was, and the port is not zero.
    pub(crate) fn listen(&mut self, address: Ipv4Addr, port: u16) -> bool {
        let socket = self.tcp_mut();
        let endpoint = IpListenEndpoint {
            addr: Some(IpAddress::Ipv4(address)),
            port,
        };
        let listens = socket.listen(endpoint).is_ok();
        socket.set_timeout(Some(duration(HALF_OPEN_TIMEOUT)));
        socket.set_congestion_control(tcp::CongestionControl::Reno);
        listens
    }

    /// Returns how far the connection is.
    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        match self.tcp().state() {
            tcp::State::Listen => Phase::Listening,
            tcp::State::SynSent | tcp::State::SynReceived => Phase::HalfOpen,
            tcp::State::Established | tcp::State::CloseWait => Phase::Open,
            tcp::State::FinWait1 | tcp::State::Closing | tcp::State::LastAck => Phase::Finishing,
            tcp::State::FinWait2 => Phase::PeerOpen,
            tcp::State::TimeWait => Phase::TimeWait,
            tcp::State::Closed => Phase::Closed,
        }
    }

    /// Whether the peer has finished sending: its FIN has been taken in.
    #[inline]
    pub(crate) fn peer_has_finished(&self) -> bool {
        matches!(
            self.tcp().state(),
            tcp::State::CloseWait
                | tcp::State::Closing
                | tcp::State::LastAck
                | tcp::State::TimeWait
        )
    }

    /// Whether a closed socket has a RST still to send.
    pub(crate) fn owes_reset(&self) -> bool {
        let socket = self.tcp();
        socket.state() == tcp::State::Closed && socket.remote_endpoint().is_some()
    }

    /// Bytes received and not read.
    #[inline]
    pub(crate) fn unread_bytes(&self) -> usize {
        self.tcp().recv_queue()
    }

    /// Bytes sent and not acknowledged, or not yet sent.
    #[inline]
    pub(crate) fn unacknowledged_bytes(&self) -> usize {
        self.tcp().send_queue()
    }

    /// Whether enough of the send buffer is free to wake a writer: a quarter.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        let socket = self.tcp();
        (socket.send_capacity() - socket.send_queue()) * 4 >= socket.send_capacity()
    }

    /// Copies received bytes into `buf`, which is not empty. Returns what was found, and how many
    /// bytes are left.
    #[inline]
    pub(crate) fn receive(&mut self, buf: &mut [u8]) -> (Received, usize) {
        let socket = self.tcp_mut();
        let mut copied = 0;
        loop {
            // Bytes that wrap around the end of the buffer come in two parts.
            let rest = &mut buf[copied..];
            let part = socket.recv(|bytes| {
                let count = bytes.len().min(rest.len());
                rest[..count].copy_from_slice(&bytes[..count]);
                (count, count)
            });
            let left = socket.recv_queue();
            copied += match part {
                Ok(0) => return (Received::Nothing, left),
                Ok(count) => count,
                Err(tcp::RecvError::Finished) => return (Received::Finished, left),
                Err(tcp::RecvError::InvalidState) => return (Received::Broken, left),
            };
            if left == 0 || copied == buf.len() {
                return (Received::Bytes(copied), left);
            }
        }
    }

    /// Lets `fill` write into the send buffer; see [`Stack::send_with`](crate::Stack::send_with).
    /// Returns how many bytes it wrote, and whether it left room; `None` when this side may not
    /// send.
    #[inline]
    pub(crate) fn send_with(
        &mut self,
        mut fill: impl FnMut(&mut [u8]) -> usize,
    ) -> Option<(usize, bool)> {
        let socket = self.tcp_mut();
        let mut sent = 0;
        loop {
            // Room that wraps around the end of the buffer comes in two parts.
            let (written, offered) = socket
                .send(|room| {
                    let written = fill(room).min(room.len());
                    (written, (written, room.len()))
                })
                .ok()?;
            sent += written;
            if written < offered || offered == 0 {
                return Some((sent, offered > 0));
            }
        }
    }

    /// Finishes sending.
    pub(crate) fn close(&mut self) {
        self.tcp_mut().close();
    }

    /// Closes at once; RST goes out at the next dispatch.
    pub(crate) fn abort(&mut self) {
        self.tcp_mut().abort();
    }

    /// Lets the user timeout run only while the peer owes an acknowledgement: smoltcp would end
    /// an idle connection by it too. To be called before each dispatch of a connection past its
    /// handshake.
    #[inline]
    pub(crate) fn adjust_timeout(&mut self) {
        let socket = self.tcp_mut();
        let waits = match socket.state() {
            tcp::State::Established | tcp::State::CloseWait => socket.send_queue() > 0,
            tcp::State::FinWait1 | tcp::State::Closing | tcp::State::LastAck => true,
            _ => false,
        };
        let timeout = waits.then_some(duration(USER_TIMEOUT));
        socket.set_timeout(timeout);
    }
}

const fn duration(duration: Duration) -> smoltcp::time::Duration {
    smoltcp::time::Duration::from_micros(duration.as_micros() as u64)
}
