//! What each ICMP message is taken for.

use super::*;
use crate::testing::frames::{seal_icmpv6, seal_tcp};
use crate::testing::{CLIENT_ADDRESS, CLIENT_ADDRESS_V6, Random, STACK_ADDRESS, STACK_ADDRESS_V6};
use std::vec;
use std::vec::Vec;

fn sealed(mut message: Vec<u8>) -> Vec<u8> {
    message[2..4].fill(0);
    let sum = !smoltcp::wire::checksum::data(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

fn sealed_v6(mut message: Vec<u8>) -> Vec<u8> {
    seal_icmpv6(&mut message, CLIENT_ADDRESS_V6, STACK_ADDRESS_V6);
    message
}

fn to_us() -> Message<Ipv6Addr> {
    Message {
        source: CLIENT_ADDRESS_V6,
        destination: STACK_ADDRESS_V6,
        hop_limit: 255,
        range: 0..0,
    }
}

#[test]
fn a_request_is_answered_with_its_own_data_and_nothing_else_is() {
    let request = sealed(vec![8, 0, 0, 0, 1, 2, 3, 4, b'd', b'a', b't']);
    let Some(Signal::Echo(reply)) = process(&request) else {
        panic!("no answer");
    };
    let mut message = vec![0xff; reply.len()];
    reply.emit(&mut message);
    assert_eq!((message[0], &message[4..]), (0, &request[4..]));
    assert_eq!(smoltcp::wire::checksum::data(&message), 0xffff);
    assert_eq!(process(&message), None, "a reply is not answered");
    let mut damaged = request.clone();
    damaged[8] ^= 1;
    assert_eq!(process(&damaged), None, "a damaged one neither");
    assert_eq!(process(&request[..7]), None);
}

#[test]
fn a_request_over_ipv6_is_answered_but_not_one_to_a_group() {
    let request = sealed_v6(vec![128, 0, 0, 0, 1, 2, 3, 4, b'd', b'a', b't']);
    let Some(Signal::Echo(reply)) = process_v6(&request, &to_us()) else {
        panic!("no answer");
    };
    let mut message = vec![0xff; reply.len()];
    reply.emit(&mut message);
    assert_eq!((message[0], &message[4..]), (129, &request[4..]));
    let mut sealed = message.clone();
    seal_icmpv6(&mut sealed, STACK_ADDRESS_V6, CLIENT_ADDRESS_V6);
    assert_eq!(message, sealed, "its checksum");
    let to_all = Message {
        destination: ipv6::ALL_NODES,
        ..to_us()
    };
    let mut request = request;
    seal_icmpv6(&mut request, CLIENT_ADDRESS_V6, ipv6::ALL_NODES);
    assert_eq!(process_v6(&request, &to_all), None);
}

/// A segment of ours, as far as it comes back.
fn quoted() -> Vec<u8> {
    let mut tcp = vec![0, 80, 0x0f, 0xa0, 1, 2, 3, 4];
    tcp.resize(20, 0);
    seal_tcp(&mut tcp, STACK_ADDRESS, CLIENT_ADDRESS);
    tcp
}

#[test]
fn a_packet_that_was_too_large_is_named() {
    let header = crate::ipv4::header(STACK_ADDRESS, CLIENT_ADDRESS, 6, 1480);
    let message = sealed([&[3, 4, 0, 0, 0, 0, 5, 100][..], &header, &quoted()[..8]].concat());
    let expected = TooBig {
        mtu: 1380,
        key: FlowKey::v4((CLIENT_ADDRESS, 4000), (STACK_ADDRESS, 80)),
        sequence: Seq(0x0102_0304),
    };
    assert_eq!(process(&message), Some(Signal::TooBig(expected)));
    let udp = crate::ipv4::header(STACK_ADDRESS, CLIENT_ADDRESS, 17, 1480);
    let message = sealed([&[3, 4, 0, 0, 0, 0, 5, 100][..], &udp, &quoted()].concat());
    assert_eq!(process(&message), None);
    let header = ipv6::header(STACK_ADDRESS_V6, CLIENT_ADDRESS_V6, 6, 64, 1460);
    let message = sealed_v6([&[2, 0, 0, 0, 0, 0, 5, 100][..], &header, &quoted()[..8]].concat());
    let expected = TooBig {
        key: FlowKey::v6((CLIENT_ADDRESS_V6, 4000), (STACK_ADDRESS_V6, 80)),
        ..expected
    };
    assert_eq!(
        process_v6(&message, &to_us()),
        Some(Signal::TooBig(expected))
    );
    for length in 0..message.len() {
        let cut = sealed_v6([&message[..length], &[0; 4]].concat()[..length.max(4)].to_vec());
        assert_eq!(process_v6(&cut, &to_us()), None, "{length} bytes");
    }
}

#[test]
fn no_message_is_too_strange() {
    let mut random = Random::new(11);
    for _ in 0..100_000 {
        let kind = [2, 3, 8, 128, 133, 134, 135, 136, 137][random.below(9) as usize];
        let length = 4 + random.below(120);
        let mut message: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
        (message[0], message[1]) = (kind, random.below(5) as u8);
        process(&sealed(message.clone()));
        let message = sealed_v6(message);
        if let Some(Signal::Discovery(Discovery::Router(said))) = process_v6(&message, &to_us()) {
            said.options().for_each(drop);
        }
    }
}
