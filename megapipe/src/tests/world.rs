//! A stand-in for the stack: connections that a test feeds, drains and breaks by hand.

use super::ports::Ports;
use crate::channel::{Channel, ChannelConfig, Completion, Cookie, Handle};
use crate::connections::Connections;
use crate::writes::IoSlice;
use alloc::boxed::Box;
use core::net::SocketAddr;
use kernel::{CoreMask, Instant};
use net::chunk::Chunk;
use net::datagram::DatagramError;
use net::stack::{
    Accepted, CloseReason, ConnectError, ConnectionError, ConnectionId, Event, ListenError,
    ListenerId, Loan, ReceiveError,
};
use std::collections::VecDeque;

use std::vec::Vec;

pub(super) const PEER: &str = "10.0.0.2:40000";
pub(super) const LISTENER: Cookie = Cookie(1000);
/// Bytes of a chunk of the model's.
pub(super) const CHUNK_BYTES: usize = 64;

/// One connection as the model sees it.
pub(super) struct Peer {
    pub(super) id: ConnectionId,
    pub(super) incoming: VecDeque<u8>,
    pub(super) is_finished: bool,
    pub(super) sent: Vec<u8>,
    /// Pieces that the peer has not acknowledged.
    pub(super) lent: VecDeque<IoSlice>,
    /// Pieces that the send queue takes.
    pub(super) room: usize,
    pub(super) wants_room: bool,
    pub(super) is_shut: bool,
    pub(super) over: Option<CloseReason>,
    /// It was accepted, or begun by this side: its events are told.
    is_owned: bool,
    /// Times that something was to be lent to its send queue.
    pub(super) lends: usize,
}

/// The model of a stack.
pub(super) struct World {
    pub(super) peers: Vec<Option<Peer>>,
    pub(super) generations: Vec<u32>,
    pub(super) ports: Ports,
    pub(super) events: VecDeque<Event>,
    pub(super) released: Vec<ConnectionId>,
    pub(super) refuse_connect: Option<ConnectError>,
    /// Pieces are held until the peer acknowledges them.
    pub(super) holds: bool,
    /// Connections that this side has begun.
    pub(super) asked: Vec<(ConnectionId, SocketAddr)>,
    /// Datagrams that were sent, and how many more may be.
    pub(super) datagrams: Vec<(SocketAddr, Vec<u8>)>,
    pub(super) datagrams_left: usize,
    /// Cores that were notified.
    pub(super) notified: CoreMask,
    /// Pieces that a new connection's send queue takes.
    pub(super) send_room: usize,
    /// Chunks taken and not given back.
    pub(super) chunks_out: usize,
}

impl World {
    pub(super) fn new(connections: usize) -> Self {
        World {
            peers: (0..connections).map(|_| None).collect(),
            generations: std::vec![0; connections],
            ports: Ports::default(),
            events: VecDeque::new(),
            released: Vec::new(),
            refuse_connect: None,
            holds: false,
            asked: Vec::new(),
            datagrams: Vec::new(),
            datagrams_left: 0,
            notified: CoreMask::EMPTY,
            send_room: 1 << 20,
            chunks_out: 0,
        }
    }

    /// A peer connects at the first listener and waits to be accepted.
    pub(super) fn arrive_new(&mut self) -> Option<ConnectionId> {
        self.arrive_at(0)
    }

    /// A peer connects at the listener of this number and waits to be accepted.
    pub(super) fn arrive_at(&mut self, number: usize) -> Option<ConnectionId> {
        let id = self.begin(false)?;
        match self.ports.enqueue(number, id) {
            Some(listener) => self.events.push_back(Event::Incoming(listener)),
            None => {
                self.peers[id.index()] = None;
                return None;
            }
        }
        Some(id)
    }

    /// A connection that this side has asked for is open.
    pub(super) fn open(&mut self, id: ConnectionId) {
        self.events.push_back(Event::Connected(id));
    }

    fn begin(&mut self, is_owned: bool) -> Option<ConnectionId> {
        let index = self.peers.iter().position(Option::is_none)?;
        self.generations[index] += 1;
        let id = ConnectionId::new(index as u32, self.generations[index]);
        self.peers[index] = Some(Peer {
            id,
            incoming: VecDeque::new(),
            is_finished: false,
            sent: Vec::new(),
            lent: VecDeque::new(),
            room: self.send_room,
            wants_room: false,
            is_shut: false,
            over: None,
            is_owned,
            lends: 0,
        });
        Some(id)
    }

    pub(super) fn peer(&mut self, id: ConnectionId) -> &mut Peer {
        self.find(id).expect("a live connection")
    }

    pub(super) fn find(&mut self, id: ConnectionId) -> Option<&mut Peer> {
        self.peers[id.index()].as_mut().filter(|peer| peer.id == id)
    }

    /// The peer sends bytes.
    pub(super) fn arrive(&mut self, id: ConnectionId, data: &[u8]) {
        self.peer(id).incoming.extend(data);
        self.tell(id, Event::Readable(id));
    }

    /// Tells an event of a connection, unless that waits to be accepted.
    fn tell(&mut self, id: ConnectionId, event: Event) {
        if self.peer(id).is_owned {
            self.events.push_back(event);
        }
    }

    /// The peer finishes sending; over when this side has too.
    pub(super) fn finish(&mut self, id: ConnectionId) {
        self.peer(id).is_finished = true;
        self.tell(id, Event::Readable(id));
        self.end_if_both_finished(id);
    }

    /// The connection breaks.
    pub(super) fn end(&mut self, id: ConnectionId, reason: CloseReason) {
        self.peer(id).lent.clear();
        if self.peer(id).over.replace(reason).is_none() {
            self.tell(id, Event::Closed(id, reason));
        }
    }

    /// The peer acknowledges: there is room for so many more pieces.
    pub(super) fn make_room(&mut self, id: ConnectionId, pieces: usize) {
        let peer = self.peer(id);
        peer.room += pieces;
        if core::mem::take(&mut peer.wants_room) {
            self.events.push_back(Event::Writable(id));
        }
    }

    /// The peer acknowledges the first `count` pieces of those that are held.
    pub(super) fn acknowledge(&mut self, id: ConnectionId, count: usize) {
        let peer = self.peer(id);
        peer.lent.drain(..count.min(peer.lent.len()));
    }

    fn end_if_both_finished(&mut self, id: ConnectionId) {
        let peer = self.peer(id);
        if peer.is_shut && peer.is_finished && peer.over.is_none() {
            self.end(id, CloseReason::Finished);
        }
    }
}

impl Connections for World {
    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn listen(
        &mut self,
        port: u16,
        mask: CoreMask,
        most: usize,
    ) -> Result<ListenerId, ListenError> {
        self.ports.listen(port, mask, most)
    }

    fn change_mask(&mut self, id: ListenerId, mask: CoreMask) -> Result<(), ListenError> {
        self.ports.change_mask(id, mask)
    }

    fn set_stealing(&mut self, id: ListenerId, is_on: bool) -> Result<(), ListenError> {
        self.ports.find(id).ok_or(ListenError::Unknown)?;
        self.ports.stealing.push(is_on);
        Ok(())
    }

    fn bid(&mut self, _: ListenerId, most: u32) -> CoreMask {
        assert!(most > 0);
        self.ports.bids += 1;
        CoreMask::first(2)
    }

    fn close_listener(&mut self, id: ListenerId) -> Result<(), ListenError> {
        for waiting in self.ports.close(id)? {
            self.peers[waiting.index()] = None;
        }
        Ok(())
    }

    fn accept(&mut self, id: ListenerId) -> Option<Accepted> {
        let (connection, pending) = self.ports.accept(id)?;
        let peer = self.peer(connection);
        peer.is_owned = true;
        let (is_readable, over) = (!peer.incoming.is_empty() || peer.is_finished, peer.over);
        if is_readable {
            self.events.push_back(Event::Readable(connection));
        }
        if let Some(reason) = over {
            self.events.push_back(Event::Closed(connection, reason));
        }
        Some(Accepted {
            connection,
            peer: PEER.parse::<SocketAddr>().unwrap(),
            pending,
        })
    }

    fn connect(&mut self, remote: SocketAddr, _: Instant) -> Result<ConnectionId, ConnectError> {
        if let Some(error) = self.refuse_connect {
            return Err(error);
        }
        let id = self.begin(true).ok_or(ConnectError::ConnectionsFull)?;
        self.asked.push((id, remote));
        Ok(id)
    }

    fn take(&mut self, id: ConnectionId) -> Result<Option<Box<Chunk>>, ReceiveError> {
        let mut chunk = Chunk::several(1, CHUNK_BYTES).next().unwrap();
        match self.receive(id, chunk.room()) {
            Ok(Some(0)) => Err(ReceiveError::Finished),
            Ok(Some(bytes)) => {
                chunk.advance(bytes);
                self.chunks_out += 1;
                Ok(Some(chunk))
            }
            Ok(None) => Ok(None),
            Err(ConnectionError::Closed) => Err(ReceiveError::Closed),
            Err(ConnectionError::Unknown) => Err(ReceiveError::Unknown),
        }
    }

    fn give_back(&mut self, chunk: Box<Chunk>) {
        let mut next = Some(chunk);
        while let Some(mut chunk) = next {
            self.chunks_out -= 1;
            next = chunk.take_rest();
        }
    }

    fn receive(
        &mut self,
        id: ConnectionId,
        buf: &mut [u8],
    ) -> Result<Option<usize>, ConnectionError> {
        let peer = self.find(id).ok_or(ConnectionError::Unknown)?;
        let count = buf.len().min(peer.incoming.len());
        if count > 0 {
            buf.iter_mut()
                .zip(peer.incoming.drain(..count))
                .for_each(|(to, from)| *to = from);
            return Ok(Some(count));
        }
        match peer.over {
            _ if peer.is_finished => Ok(Some(0)),
            Some(_) => Err(ConnectionError::Closed),
            None => Ok(None),
        }
    }

    fn is_readable(&mut self, id: ConnectionId) -> bool {
        self.find(id)
            .is_some_and(|peer| !peer.incoming.is_empty() || peer.is_finished)
    }

    fn unread_bytes(&mut self, id: ConnectionId) -> usize {
        self.find(id).map_or(0, |peer| peer.incoming.len())
    }

    fn lend(
        &mut self,
        id: ConnectionId,
        mut next: impl FnMut() -> Option<IoSlice>,
    ) -> Result<Loan, ConnectionError> {
        let slot = self.peers[id.index()].as_mut();
        let found = slot.filter(|peer| peer.id == id);
        let peer = found.ok_or(ConnectionError::Unknown)?;
        peer.lends += 1;
        if peer.is_shut || peer.over.is_some() {
            return Err(ConnectionError::Closed);
        }
        let before = peer.sent.len();
        while peer.room > 0
            && let Some(piece) = next()
        {
            peer.sent.extend_from_slice(piece.bytes());
            peer.room -= usize::from(!piece.bytes().is_empty());
            if self.holds {
                peer.lent.push_back(piece);
            }
        }
        peer.wants_room |= peer.room == 0;
        Ok(Loan {
            bytes: peer.sent.len() - before,
            has_room: peer.room > 0,
        })
    }

    fn shutdown(&mut self, id: ConnectionId) -> Result<(), ConnectionError> {
        let peer = self.find(id).ok_or(ConnectionError::Unknown)?;
        if peer.over.is_some() {
            return Err(ConnectionError::Closed);
        }
        peer.is_shut = true;
        self.end_if_both_finished(id);
        Ok(())
    }

    fn abort(&mut self, id: ConnectionId) -> Result<(), ConnectionError> {
        let peer = self.find(id).ok_or(ConnectionError::Unknown)?;
        if peer.over.is_some() {
            return Err(ConnectionError::Closed);
        }
        self.end(id, CloseReason::Aborted);
        Ok(())
    }

    fn send_datagram(&mut self, _: u16, to: SocketAddr, bytes: &[u8]) -> Result<(), DatagramError> {
        match self.datagrams_left.checked_sub(1) {
            Some(left) => self.datagrams_left = left,
            None => return Err(DatagramError::NotNow),
        }
        self.datagrams.push((to, bytes.to_vec()));
        Ok(())
    }

    fn notify(&mut self, cores: CoreMask) {
        self.notified = self.notified.or(cores);
    }

    fn release(&mut self, id: ConnectionId) -> Result<(), ConnectionError> {
        self.find(id).ok_or(ConnectionError::Unknown)?;
        self.peers[id.index()] = None;
        self.events.retain(|event| match event {
            Event::Incoming(_) => true,
            Event::Connected(of)
            | Event::Readable(of)
            | Event::Writable(of)
            | Event::Closed(of, _) => *of != id,
        });
        self.released.push(id);
        Ok(())
    }
}

/// A channel over a model of a stack, listening, with endless accept credit.
pub(super) struct Bench {
    pub(super) world: World,
    pub(super) channel: Channel,
}

impl Bench {
    pub(super) fn new(config: ChannelConfig) -> Self {
        let mut bench = Bench {
            world: World::new(config.handles),
            channel: Channel::create(config),
        };
        bench.run(|channel| {
            let listener = channel.listen(80, LISTENER, CoreMask::first(1)).unwrap();
            channel.accept(listener, u32::MAX).unwrap();
        });
        bench
    }

    pub(super) fn small() -> Self {
        Self::new(ChannelConfig {
            handles: 4,
            batch: 32,
            chunks: 64,
            buffers: 4,
            buffer_bytes: 64,
            timers: 16,
        })
    }

    /// Lets the application run once, as the core does, and flushes.
    pub(super) fn run<R>(&mut self, application: impl FnOnce(&mut Channel) -> R) -> R {
        self.channel.begin_run(Instant::ZERO);
        let result = application(&mut self.channel);
        self.channel.flush_to(&mut self.world);
        result
    }

    /// Collects events and hands out every completion.
    pub(super) fn completions(&mut self) -> Vec<Completion> {
        self.channel.collect(Instant::ZERO, &mut self.world);
        self.run(|channel| core::iter::from_fn(|| channel.dispatch(None)).collect())
    }

    /// Collects events and hands out the one completion there is.
    pub(super) fn completion(&mut self) -> Completion {
        let mut completions = self.completions();
        assert_eq!(completions.len(), 1, "{completions:?}");
        completions.remove(0)
    }

    pub(super) fn assert_quiet(&mut self) {
        let completions = self.completions();
        assert!(completions.is_empty(), "{completions:?}");
    }

    /// Connects a peer and registers its lwsocket.
    pub(super) fn open(&mut self, cookie: Cookie) -> (ConnectionId, Handle) {
        let id = self.world.arrive_new().expect("a free connection");
        match self.completion() {
            Completion::Accept { socket, .. } => (id, self.channel.register(socket, cookie)),
            other => panic!("{other:?}"),
        }
    }
}
