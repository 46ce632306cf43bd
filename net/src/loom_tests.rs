//! What crosses cores in this crate, in every order that the memory model allows
//! (`RUSTFLAGS="--cfg loom"`): frames through the fabric, and the words that all cores read.

use crate::address::{Address, AddressWord};
use crate::fabric::{FabricPort, HandOverError, fabric};
use core::net::Ipv4Addr;
use kernel::CoreId;
use kernel::sync::Arc;
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
            .map(|number| first.hand_over(ONE, &[number]))
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
        assert!(first.hand_over(ONE, &[9]).is_ok(), "every box came back");
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
fn an_address_comes_with_its_gateway() {
    let address = |last: u8| Address {
        address: Ipv4Addr::new(10, 0, 0, last),
        prefix: 24,
        gateway: Some(Ipv4Addr::new(10, 0, 1, last)),
    };
    loom::model(move || {
        let word = Arc::new(AddressWord::new());
        let theirs = word.clone();
        let other = thread::spawn(move || {
            theirs.publish(Some(address(1)));
            theirs.publish(Some(address(2)));
        });
        let seen = word.look();
        let read = word.read(seen);
        other.join().unwrap();
        match read {
            None => {}
            // A gateway that is ahead of its address: then the word has changed since, and whoever
            // saw the old one looks again.
            Some(read) if read.gateway != address(read.address.octets()[3]).gateway => {
                assert_ne!(word.look(), seen);
            }
            Some(read) => assert_eq!(read, address(read.address.octets()[3])),
        }
        assert_eq!(word.read(word.look()), Some(address(2)));
    });
}
