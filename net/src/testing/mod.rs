//! Test support, for this crate's tests and for those above it (feature `testing`): a link in
//! memory and in virtual time ([`Link`], [`MemoryNic`]), a client on its other end ([`Client`],
//! plain smoltcp) or a second stack ([`Pair`]), frames made and read by hand ([`frames`]), and seeded random numbers
//! ([`Random`]).
//!
//! ```
//! use net::testing::{Client, Link, World};
//!
//! let link = Link::new();
//! let mut world = World::new(&link);
//! let listener = world.listen(80, 16);
//! let mut client = Client::new(&link);
//! let socket = client.connect(80);
//! world.run(&mut client, 100);
//! let accepted = world.stack.accept(listener).unwrap();
//! client.send(socket, b"hello");
//! world.run(&mut client, 100);
//! let mut buf = [0; 16];
//! assert_eq!(world.stack.receive(accepted.connection, &mut buf), Ok(Some(5)));
//! ```

mod client;
mod conditions;
mod fragments;
pub mod frames;
mod link;
mod memory_nic;
mod mutation;
mod offload;
mod one_frame;
mod pair;
mod pcap;
mod random;
mod steering;
mod story;
mod world;

pub use client::{Client, State};
pub use conditions::{Conditions, Direction, Rate};
pub use fragments::Datagram;
pub use link::{ClientPort, Link};
pub use memory_nic::MemoryNic;
pub use mutation::{Mutator, seal};
pub use one_frame::OneFrame;
pub use pair::Pair;
pub use random::Random;
pub use smoltcp::iface::SocketHandle;
pub use story::play;
pub use world::{World, next_event, stack, stacks};

use core::net::{Ipv4Addr, Ipv6Addr};

/// The stack's address on the link, in a network of 16 bits.
pub const STACK_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 1);
/// The client's address.
pub const CLIENT_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 2);
/// The stack's IPv6 address, in a network of 64 bits.
pub const STACK_ADDRESS_V6: Ipv6Addr = Ipv6Addr::new(0xfd07, 0, 0, 0, 0, 0, 0, 1);
/// The client's IPv6 address.
pub const CLIENT_ADDRESS_V6: Ipv6Addr = Ipv6Addr::new(0xfd07, 0, 0, 0, 0, 0, 0, 2);
/// The stack's station address.
pub const STACK_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The client's station address.
pub const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
