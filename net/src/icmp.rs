//! ICMP for IPv4 (RFC 792): echo requests are answered, the rest is counted and dropped.
//!
//! Upstream: the demux. Downstream: [`output`](crate::output).

use crate::checksum::Sum;

/// Bytes of an echo message before its data: type, code, checksum, identifier, sequence number.
const ECHO_HEADER_BYTES: usize = 8;
/// Type and code of a request; those of a reply are 0.
const ECHO_REQUEST: [u8; 2] = [8, 0];

/// The answer to an echo request: the same message with another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EchoReply<'a> {
    /// Identifier, sequence number and data.
    rest: &'a [u8],
}

/// Reads an ICMP message; `None` when it asks for no answer or is malformed.
pub(crate) fn process(message: &[u8]) -> Option<EchoReply<'_>> {
    let is_request = message.len() >= ECHO_HEADER_BYTES && message[..2] == ECHO_REQUEST;
    let is_intact = is_request && Sum::default().add(message).is_intact();
    // Not before it is known to be long enough.
    is_intact.then(|| EchoReply {
        rest: &message[4..],
    })
}

impl EchoReply<'_> {
    /// Returns the bytes of the message.
    pub(crate) fn len(&self) -> usize {
        4 + self.rest.len()
    }

    /// Writes the message, [`len`](Self::len) bytes.
    pub(crate) fn emit(&self, message: &mut [u8]) {
        message[..4].fill(0);
        message[4..].copy_from_slice(self.rest);
        let checksum = Sum::default().add(message).complement();
        message[2..4].copy_from_slice(&checksum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn a_request_is_answered_with_its_own_data_and_nothing_else_is() {
        let mut request = vec![8, 0, 0, 0, 1, 2, 3, 4, b'd', b'a', b't'];
        let sum = !smoltcp::wire::checksum::data(&request);
        request[2..4].copy_from_slice(&sum.to_be_bytes());
        let reply = process(&request).expect("an answer");
        let mut message = vec![0xff; reply.len()];
        reply.emit(&mut message);
        assert_eq!((message[0], &message[4..]), (0, &request[4..]));
        assert_eq!(smoltcp::wire::checksum::data(&message), 0xffff);
        assert_eq!(process(&message), None, "a reply is not answered");
        request[8] ^= 1;
        assert_eq!(process(&request), None, "a damaged one neither");
        for bytes in 0..8 {
            assert_eq!(process(&[8; 8][..bytes]), None, "{bytes} bytes");
        }
        assert_eq!(process(&request[..7]), None);
    }
}
