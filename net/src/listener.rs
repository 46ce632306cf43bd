//! The listeners of one core: each a port, a core mask, a bounded queue of connections that wait to
//! be accepted, and a count of those that are still shaking hands.
//!
//! The queues are lists through one table with a place per connection, which is in one of them at
//! most: a listener that begins while the appliance serves takes no memory.

use crate::limits;
use alloc::boxed::Box;
use alloc::vec;
use core::fmt;
use kernel::CoreMask;

/// A listener of one stack: an index and the generation of that place, so that a stale id is
/// refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId {
    index: u8,
    generation: u32,
}

impl ListenerId {
    /// Makes an id from its number, for stand-ins of a stack in tests; a stack refuses ids that it
    /// did not give out.
    pub const fn new(number: u8) -> Self {
        ListenerId {
            index: number,
            generation: 0,
        }
    }
}

/// Why a `listen` was refused, or a change of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenError {
    /// The mask names no core, or one that does not run.
    BadMask,
    /// Another core's listener of this port has one of these cores already.
    CoreTaken,
    /// This core listens on the port already.
    PortInUse,
    /// No room for another listener, or port 0, which is none.
    Full,
    /// There is no such listener (any more).
    Unknown,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ListenError::BadMask => "the mask names no core, or one that does not run",
            ListenError::CoreTaken => "another listener of this port has one of these cores",
            ListenError::PortInUse => "this core listens on the port already",
            ListenError::Full => "no room for another listener, or not a port",
            ListenError::Unknown => "there is no such listener",
        })
    }
}

impl core::error::Error for ListenError {}

/// All listeners of one core.
pub(crate) struct Listeners {
    places: [Listener; limits::LISTENERS],
    /// By connection: the one behind it in its queue, or [`NOBODY`].
    behind: Box<[u32]>,
}

/// One listener, or the place of one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listener {
    /// 0 while the place is free.
    pub(crate) port: u16,
    pub(crate) mask: CoreMask,
    generation: u32,
    /// Its waiting connections may move to idle cores, and those of others here.
    pub(crate) steals: bool,
    /// A bid of it is out.
    pub(crate) has_bid: bool,
    /// Other cores were told that connections wait.
    pub(crate) has_told_backlog: bool,
    backlog: usize,
    half_open: usize,
    waiting: usize,
    /// The connection that has waited longest, and the last one; of meaning while any waits.
    first: u32,
    last: u32,
}

const NOBODY: u32 = u32::MAX;

impl Listeners {
    /// Makes room for the listeners of a stack with this many connections.
    pub(crate) fn new(connections: usize) -> Self {
        let free = Listener {
            port: 0,
            mask: CoreMask::EMPTY,
            generation: 0,
            steals: false,
            has_bid: false,
            has_told_backlog: false,
            backlog: 0,
            half_open: 0,
            waiting: 0,
            first: NOBODY,
            last: NOBODY,
        };
        Listeners {
            places: [free; limits::LISTENERS],
            behind: vec![NOBODY; connections].into_boxed_slice(),
        }
    }

    /// Returns whether a place is free.
    pub(crate) fn has_place(&self) -> bool {
        self.at_port(0).is_some()
    }

    /// Begins a listener with room for `backlog` connections, at least one and at most as many as
    /// there are.
    pub(crate) fn open(&mut self, port: u16, mask: CoreMask, backlog: usize) -> Option<ListenerId> {
        let index = self.at_port(0)?;
        let place = &mut self.places[usize::from(index)];
        *place = Listener {
            port,
            mask,
            backlog: backlog.clamp(1, self.behind.len().max(1)),
            half_open: 0,
            waiting: 0,
            steals: false,
            ..*place
        };
        Some(self.id(index))
    }

    /// Ends a listener; its id is stale from now on. Its connections are the caller's to end.
    pub(crate) fn close(&mut self, index: u8) {
        let place = &mut self.places[usize::from(index)];
        place.port = 0;
        place.generation = place.generation.wrapping_add(1);
    }

    /// Returns the listener of an id, `None` for a stale one.
    pub(crate) fn get(&mut self, id: ListenerId) -> Option<(u8, &mut Listener)> {
        let place = self.places.get_mut(usize::from(id.index))?;
        (place.port != 0 && place.generation == id.generation).then_some((id.index, place))
    }

    /// Returns the listener, or the place of one, at an index.
    pub(crate) fn at(&mut self, index: u8) -> &mut Listener {
        &mut self.places[usize::from(index)]
    }

    /// Returns whether some listener steals.
    pub(crate) fn some_steals(&self) -> bool {
        let mut places = self.places.iter();
        places.any(|place| place.port != 0 && place.steals)
    }

    /// Returns the index of the listener on a port.
    #[inline]
    pub(crate) fn at_port(&self, port: u16) -> Option<u8> {
        let mut places = self.places.iter();
        let index = places.position(|place| place.port == port)?;
        Some(index as u8)
    }

    /// Returns the id of the listener at an index.
    pub(crate) fn id(&self, index: u8) -> ListenerId {
        ListenerId {
            index,
            generation: self.places[usize::from(index)].generation,
        }
    }

    /// Returns whether one more connection may begin: it will have a place in the queue.
    pub(crate) fn has_room(&self, index: u8) -> bool {
        let place = &self.places[usize::from(index)];
        place.half_open + place.waiting < place.backlog
    }

    /// Returns whether a connection whose handshake is complete would be accepted soon: those that
    /// are not complete do not count.
    pub(crate) fn has_room_behind_handshakes(&self, index: u8) -> bool {
        let place = &self.places[usize::from(index)];
        place.waiting < place.backlog
    }

    /// A connection begins its handshake.
    pub(crate) fn begin(&mut self, index: u8) {
        self.places[usize::from(index)].half_open += 1;
    }

    /// A handshake came to nothing.
    pub(crate) fn lose(&mut self, index: u8) {
        let place = &mut self.places[usize::from(index)];
        place.half_open = place.half_open.saturating_sub(1);
    }

    /// A handshake is complete: the connection waits to be accepted.
    pub(crate) fn enqueue(&mut self, index: u8, connection: u32) {
        self.lose(index);
        let place = &mut self.places[usize::from(index)];
        if place.waiting == 0 {
            place.first = connection;
        } else {
            self.behind[place.last as usize] = connection;
        }
        place.last = connection;
        place.waiting += 1;
    }

    /// Finds the connection that has waited longest of those that `is_wanted`, among so many; returns
    /// its place in the queue.
    pub(crate) fn find(
        &self,
        index: u8,
        tries: usize,
        mut is_wanted: impl FnMut(u32) -> bool,
    ) -> Option<usize> {
        let place = &self.places[usize::from(index)];
        let mut connection = place.first;
        (0..place.waiting.min(tries)).find(|_| {
            let next = self.behind[connection as usize];
            is_wanted(core::mem::replace(&mut connection, next))
        })
    }

    /// Takes the connection at this place of the queue, which there is.
    pub(crate) fn remove(&mut self, index: u8, place: usize) -> u32 {
        let queue = &mut self.places[usize::from(index)];
        let mut before = None;
        let mut connection = queue.first;
        for _ in 0..place {
            before = Some(connection);
            connection = self.behind[connection as usize];
        }
        let next = self.behind[connection as usize];
        match before {
            None => queue.first = next,
            Some(before) => self.behind[before as usize] = next,
        }
        if connection == queue.last {
            queue.last = before.unwrap_or(NOBODY);
        }
        queue.waiting -= 1;
        connection
    }

    /// Takes the connection that has waited longest, and returns how many are left.
    pub(crate) fn accept(&mut self, id: ListenerId) -> Option<(u32, usize)> {
        let (index, place) = self.get(id)?;
        place.waiting = place.waiting.checked_sub(1)?;
        let (connection, left) = (place.first, place.waiting);
        self.places[usize::from(index)].first = self.behind[connection as usize];
        Some((connection, left))
    }
}

impl Listener {
    /// Returns how many connections wait to be accepted.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: CoreMask = CoreMask::first(1);

    #[test]
    fn half_open_and_waiting_share_the_backlog() {
        let mut listeners = Listeners::new(8);
        let id = listeners.open(80, ALL, 2).unwrap();
        let index = listeners.at_port(80).unwrap();
        assert!(listeners.has_room(index));
        listeners.begin(index);
        listeners.begin(index);
        assert!(!listeners.has_room(index));
        listeners.enqueue(index, 7);
        assert!(!listeners.has_room(index));
        listeners.lose(index);
        assert!(listeners.has_room(index));
        assert_eq!(listeners.accept(id), Some((7, 0)));
        assert_eq!(listeners.accept(id), None);
    }

    #[test]
    fn each_queue_keeps_its_order() {
        let mut listeners = Listeners::new(8);
        let ids = [80, 81].map(|port| listeners.open(port, ALL, 8).unwrap());
        for connection in 0..8 {
            let index = (connection % 2) as u8;
            listeners.begin(index);
            listeners.enqueue(index, connection);
        }
        assert_eq!(listeners.accept(ids[1]), Some((1, 3)));
        // A connection that comes round again.
        listeners.begin(1);
        listeners.enqueue(1, 1);
        for (id, queue) in ids.into_iter().zip([[0, 2, 4, 6], [3, 5, 7, 1]]) {
            for connection in queue {
                assert_eq!(listeners.accept(id).unwrap().0, connection);
            }
            assert_eq!(listeners.accept(id), None);
        }
    }

    #[test]
    fn connections_leave_a_queue_from_any_place_and_the_rest_keep_their_order() {
        let mut listeners = Listeners::new(8);
        let id = listeners.open(80, ALL, 8).unwrap();
        let add = |listeners: &mut Listeners, connection| {
            listeners.begin(0);
            listeners.enqueue(0, connection);
        };
        (0..4).for_each(|connection| add(&mut listeners, connection));
        assert_eq!(listeners.find(0, 8, |connection| connection == 7), None);
        assert_eq!(listeners.find(0, 2, |connection| connection == 3), None);
        // The last, the first, one between.
        assert_eq!(listeners.find(0, 8, |connection| connection == 3), Some(3));
        assert_eq!(listeners.remove(0, 3), 3);
        add(&mut listeners, 5);
        assert_eq!(listeners.remove(0, 0), 0);
        assert_eq!(listeners.remove(0, 1), 2);
        assert_eq!(listeners.accept(id), Some((1, 1)));
        assert_eq!(listeners.remove(0, 0), 5);
        add(&mut listeners, 6);
        assert_eq!(listeners.accept(id), Some((6, 0)));
        assert_eq!(listeners.accept(id), None);
    }

    #[test]
    fn a_closed_listener_leaves_its_place_and_a_stale_id() {
        let mut listeners = Listeners::new(4);
        let ids: std::vec::Vec<ListenerId> = (1..=limits::LISTENERS as u16)
            .map(|port| listeners.open(port, ALL, 1).unwrap())
            .collect();
        assert!(!listeners.has_place());
        listeners.close(3);
        assert!(listeners.get(ids[3]).is_none() && listeners.at_port(4).is_none());
        let again = listeners.open(99, ALL, 1).unwrap();
        assert!(again != ids[3] && listeners.get(ids[3]).is_none());
        assert_eq!(listeners.get(again).unwrap().1.port, 99);
    }
}
