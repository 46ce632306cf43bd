//! What crosses cores in this crate, in every order that the memory model allows
//! (`RUSTFLAGS="--cfg loom"`): frames through the fabric, and the words that all cores read.

use crate::address::{AddressState, Cidr, Host, HostAddress};
use crate::bids::Bids;
use crate::fabric::{FabricPort, HandOverError, ParcelKind, fabric};
use crate::flow::FlowKey;
use crate::host_words::HostWords;
use crate::moves::Move;
use crate::port_table::{Asked, PortTable, heaviest};
use core::net::{IpAddr, Ipv4Addr};
use kernel::spsc::{Consumer, Producer, ring};
use kernel::sync::Arc;
use kernel::sync::atomic::{AtomicU64, Ordering};
use kernel::wake::WakeFlags;
use kernel::{CoreId, CoreMask};
use loom::thread;
use std::vec::Vec;

const ONE: CoreId = CoreId::new(1).unwrap();

fn two_cores() -> (FabricPort, FabricPort) {
    let mut ports = fabric(&[true, false], [0; 16]);
    let second = ports.pop().unwrap();
    (ports.pop().unwrap(), second)
}

#[test]
fn frames_cross_once_and_their_boxes_come_back() {
    loom::model(|| {
        let (mut first, mut second) = two_cores();
        let other = thread::spawn(move || {
            let mut taken = Vec::new();
            for _ in 0..2 {
                if let Some(parcel) = second.take(CoreId::BOOT) {
                    taken.push(parcel.frame()[0]);
                    second.give_back(CoreId::BOOT, parcel);
                }
            }
            (second, taken)
        });
        // There are two boxes: the third frame goes if one has come back by then.
        let sent: Vec<_> = (0..3)
            .map(|number| first.hand_over(ONE, &[number], Asked::default()))
            .collect();
        let (mut second, mut taken) = other.join().unwrap();
        while let Some(parcel) = second.take(CoreId::BOOT) {
            taken.push(parcel.frame()[0]);
            second.give_back(CoreId::BOOT, parcel);
        }
        let expected = match sent[2] {
            Ok(()) => 3,
            Err(error) => {
                assert_eq!(error, HandOverError::Full);
                2
            }
        };
        assert!(sent[0].is_ok() && sent[1].is_ok());
        assert!(taken.iter().copied().eq(0..expected), "{taken:?}");
        assert!(
            first.hand_over(ONE, &[9], Asked::default()).is_ok(),
            "every box came back"
        );
    });
}

#[test]
fn what_moves_comes_in_its_place_among_the_frames() {
    let here = Ipv4Addr::LOCALHOST;
    let key = FlowKey::v4((here, 1), (here, 2));
    loom::model(move || {
        let (mut first, mut second) = two_cores();
        let other = thread::spawn(move || {
            let mut seen = Vec::new();
            for _ in 0..2 {
                if let Some(parcel) = second.take(CoreId::BOOT) {
                    seen.push(match parcel.kind {
                        ParcelKind::Move => second.take_move(CoreId::BOOT).is_some(),
                        _ => false,
                    });
                    second.give_back(CoreId::BOOT, parcel);
                }
            }
            seen
        });
        let end = Move::End {
            key,
            hash: 3,
            remains: None,
        };
        assert!(first.move_to(ONE, |_| (end, 0)));
        assert!(first.hand_over(ONE, &[1], Asked::default()).is_ok());
        let seen = other.join().unwrap();
        assert_eq!(seen[..], [true, false][..seen.len()]);
    });
}

#[test]
fn an_idle_core_and_a_backlog_find_each_other() {
    loom::model(|| {
        let bids = Arc::new(Bids::new());
        let theirs = bids.clone();
        let other = thread::spawn(move || theirs.place(ONE, 1).contains(CoreId::BOOT));
        bids.tell_backlog(CoreId::BOOT, true);
        let is_taken = bids.take([ONE].into_iter()).is_some();
        let is_woken = other.join().unwrap();
        assert!(is_taken || is_woken);
        // Whoever is woken looks again.
        let again = is_woken && bids.take([ONE].into_iter()).is_some();
        assert_ne!(is_taken, again, "one connection's worth");
    });
}

#[test]
fn a_core_with_a_backlog_does_not_sleep_over_a_bid() {
    loom::model(|| {
        let shared = Arc::new((Bids::new(), WakeFlags::default()));
        let theirs = shared.clone();
        // Whether the other one has to interrupt its sleep.
        let other = thread::spawn(move || {
            let (bids, flags) = &*theirs;
            bids.place(ONE, 1).contains(CoreId::BOOT) && flags.wake()
        });
        let (bids, flags) = &*shared;
        bids.tell_backlog(CoreId::BOOT, true);
        let is_taken = bids.take([ONE].into_iter()).is_some();
        flags.clear();
        let sleeps = !is_taken && !bids.has_any([ONE].into_iter()) && flags.begin_sleep();
        let is_interrupted = other.join().unwrap();
        assert!(!sleeps || is_interrupted);
    });
}

#[test]
fn a_bid_is_taken_or_withdrawn_and_never_both() {
    loom::model(|| {
        let bids = Arc::new(Bids::new());
        bids.place(ONE, 2);
        let theirs = bids.clone();
        let other = thread::spawn(move || u8::from(theirs.take([ONE].into_iter()).is_some()));
        let left = bids.withdraw(ONE);
        let taken = other.join().unwrap();
        // Withdrawn as a whole, or what one taken has left.
        assert_eq!(left, 2 - taken);
    });
}

#[test]
fn the_link_is_known_as_a_whole_or_not_at_all() {
    loom::model(|| {
        let (first, second) = two_cores();
        let other = thread::spawn(move || second.link());
        first.publish_link([1, 2, 3, 4, 5, 6], 1500);
        let seen = other.join().unwrap();
        assert!(seen.is_none() || seen == Some(([1, 2, 3, 4, 5, 6], 1500)));
    });
}

#[test]
fn what_was_there_before_a_notice_is_seen_with_it() {
    loom::model(|| {
        let (mut first, second) = two_cores();
        let wish = Arc::new(AtomicU64::new(0));
        let theirs = wish.clone();
        let two = CoreMask::only(second.core());
        let other = thread::spawn(move || {
            let taken = second.notices().take(ONE);
            assert!(!taken || theirs.load(Ordering::Relaxed) == 1);
            (taken, second)
        });
        wish.store(1, Ordering::Relaxed);
        first.notify(two);
        assert_eq!(first.take_woken(), two);
        let (taken, second) = other.join().unwrap();
        assert_ne!(taken, second.notices().take(ONE), "once, and not never");
    });
}

#[test]
fn what_this_host_is_is_read_whole_or_not_at_all() {
    let host = |last: u8| {
        let mut host = Host {
            mtu_v4: Some(1000 + u16::from(last)),
            ..Host::default()
        };
        let address = IpAddr::from([10, 0, 0, last]);
        let cidr = Cidr {
            address,
            prefix: last,
        };
        let state = AddressState::Preferred;
        host.addresses.push(HostAddress { cidr, state }).unwrap();
        host
    };
    loom::model(move || {
        let words = Arc::new(HostWords::new());
        let theirs = words.clone();
        let other = thread::spawn(move || {
            theirs.publish(&host(1));
            theirs.publish(&host(2));
        });
        let seen = words.look();
        let read = words.read(seen);
        other.join().unwrap();
        match read {
            // It was being changed: whoever saw that looks again.
            None => assert_ne!(words.look(), seen),
            Some(read) => assert!([Host::default(), host(1), host(2)].contains(&read)),
        }
        assert_eq!(words.read(words.look()), Some(host(2)));
    });
}

const PORT: u16 = 80;

/// A core as far as a SYN sees it: its end of the rings to the other, and whether it has the flow.
struct Core {
    id: CoreId,
    table: Arc<PortTable>,
    to_other: Producer<Asked>,
    from_other: Consumer<Asked>,
    has_flow: bool,
    /// Times that it began the flow.
    begun: usize,
}

impl Core {
    /// Makes two cores with a ring each way, of which the first answers the port alone.
    fn pair() -> (Core, Core) {
        let table = Arc::new(PortTable::new());
        let first = CoreMask::only(CoreId::BOOT);
        table.claim(PORT, first, CoreId::BOOT).unwrap();
        let (to_second, from_first) = ring(4);
        let (to_first, from_second) = ring(4);
        let core = |id, to_other, from_other| Core {
            id,
            table: table.clone(),
            to_other,
            from_other,
            has_flow: false,
            begun: 0,
        };
        (
            core(CoreId::BOOT, to_second, from_second),
            core(ONE, to_first, from_first),
        )
    }

    /// Takes a SYN of the flow in, as a stack does.
    fn process(&mut self, hash: u64, mut asked: Asked) {
        if self.has_flow {
            return;
        }
        match self
            .table
            .steer(PORT, hash.into(), self.id, &mut asked, || None)
        {
            Some(_) => self.to_other.push(asked).expect("room"),
            None => {
                self.has_flow = true;
                self.begun += 1;
            }
        }
    }

    /// Takes in what the other core has for this one, and returns how much that was.
    fn drain(&mut self, hash: u64) -> usize {
        let mut taken = 0;
        while let Some(asked) = self.from_other.pop() {
            self.process(hash, asked);
            taken += 1;
        }
        taken
    }

    fn settle(&self) {
        let has_flow = self.has_flow;
        self.table.settle(self.id, |_| has_flow);
    }
}

/// Returns the hash of a flow that a slot of the second core takes from the first.
fn hash_that_moves() -> u64 {
    let moves = |hash: &u64| heaviest(0b11, *hash) == Some(1);
    (1..100).find(moves).expect("half of them do")
}

/// Lets both cores finish with what is on the way, and asserts that one has begun the flow, once.
fn assert_answered_once(first: &mut Core, second: &mut Core, hash: u64) {
    while first.drain(hash) + second.drain(hash) > 0 {}
    assert_eq!(first.begun + second.begun, 1);
    // A later segment finds it from everywhere.
    for _ in 0..2 {
        first.process(hash, Asked::default());
        second.process(hash, Asked::default());
        while first.drain(hash) + second.drain(hash) > 0 {}
    }
    assert_eq!(first.begun + second.begun, 1);
}

#[test]
fn a_syn_is_answered_once_while_its_share_moves() {
    let hash = hash_that_moves();
    loom::model(move || {
        let (mut first, mut second) = Core::pair();
        let other = thread::spawn(move || {
            let mask = CoreMask::only(ONE);
            second.table.claim(PORT, mask, ONE).unwrap();
            // The copy of the SYN that came on this core's queue.
            second.process(hash, Asked::default());
            second.drain(hash);
            second
        });
        first.process(hash, Asked::default());
        first.settle();
        first.drain(hash);
        let mut second = other.join().unwrap();
        assert_answered_once(&mut first, &mut second, hash);
    });
}

#[test]
fn a_syn_is_answered_once_while_its_share_moves_and_comes_back() {
    let hash = hash_that_moves();
    loom::model(move || {
        let (mut first, mut second) = Core::pair();
        let other = thread::spawn(move || {
            let mask = CoreMask::only(ONE);
            second.table.claim(PORT, mask, ONE).unwrap();
            second.process(hash, Asked::default());
            second.table.release(PORT, mask, ONE);
            second.settle();
            second.drain(hash);
            second
        });
        first.process(hash, Asked::default());
        first.settle();
        let mut second = other.join().unwrap();
        assert_answered_once(&mut first, &mut second, hash);
    });
}

#[test]
fn a_syn_is_answered_once_while_its_core_gives_its_share_up() {
    let stays = |hash: &u64| heaviest(0b11, *hash) == Some(0);
    let hash = (1..100).find(stays).expect("half of them do");
    loom::model(move || {
        let (mut first, mut second) = Core::pair();
        let table = first.table.clone();
        table.claim(PORT, CoreMask::only(ONE), ONE).unwrap();
        first.settle();
        let other = thread::spawn(move || {
            second.process(hash, Asked::default());
            second
        });
        first.process(hash, Asked::default());
        table.release(PORT, CoreMask::only(CoreId::BOOT), CoreId::BOOT);
        first.settle();
        let mut second = other.join().unwrap();
        assert_answered_once(&mut first, &mut second, hash);
    });
}

#[test]
fn one_of_two_cores_gets_a_slot_that_both_claim() {
    loom::model(|| {
        let table = Arc::new(PortTable::new());
        let theirs = table.clone();
        let both = CoreMask::first(2);
        let other = thread::spawn(move || theirs.claim(PORT, both, ONE));
        let ours = table.claim(PORT, CoreMask::only(CoreId::BOOT), CoreId::BOOT);
        let theirs = other.join().unwrap();
        assert_ne!(ours.is_ok(), theirs.is_ok());
        let owner = if ours.is_ok() { CoreId::BOOT } else { ONE };
        assert_eq!(table.owner(PORT, 7.into()), Some(owner));
    });
}
