//! The header in front of every frame, `virtio_net_hdr` (VirtIO 1.2 §5.1.6), as bytes.

use crate::nic::{RxMeta, TxMeta};

/// Bytes of the header of a device with VERSION_1.
pub(super) const HEADER_BYTES: usize = 12;

/// The checksum is partial: whoever sends the frame on completes it.
const NEEDS_CHECKSUM: u8 = 1;
/// The device is to cut the frame into TCP/IPv4 segments (VIRTIO_NET_HDR_GSO_TCPV4).
const CUT_TCP4: u8 = 1;
/// The same for TCP/IPv6 (VIRTIO_NET_HDR_GSO_TCPV6).
const CUT_TCP6: u8 = 4;
/// The checksum has been looked at and is good.
const DATA_VALID: u8 = 2;

/// Writes the header of a frame to be sent (VirtIO 1.2 §5.1.6.2).
#[inline]
pub(super) fn write(header: &mut [u8; HEADER_BYTES], meta: TxMeta) {
    *header = [0; HEADER_BYTES];
    if let Some(checksum) = meta.checksum {
        header[0] = NEEDS_CHECKSUM;
        if let Some(segment_bytes) = meta.segment_bytes {
            header[1] = if meta.is_ipv6 { CUT_TCP6 } else { CUT_TCP4 };
            header[2..4].copy_from_slice(&meta.header_bytes.to_le_bytes());
            header[4..6].copy_from_slice(&segment_bytes.get().to_le_bytes());
        }
        header[6..8].copy_from_slice(&checksum.start.to_le_bytes());
        header[8..10].copy_from_slice(&checksum.offset.to_le_bytes());
    }
}

/// Reads the header of a received frame (VirtIO 1.2 §5.1.6.4.1). Its checksum flags are of meaning only
/// when GUEST_CSUM was agreed on.
#[inline]
pub(super) fn read(header: &[u8; HEADER_BYTES]) -> RxMeta {
    RxMeta {
        checksum_valid: header[0] & (NEEDS_CHECKSUM | DATA_VALID) != 0,
        segment_bytes: match header[1] {
            0 => 0,
            _ => u16::from_le_bytes([header[4], header[5]]),
        },
        more_buffers: 0,
    }
}

/// Returns how many buffers the frame lies in, as the device says where it may use several.
#[inline]
pub(super) fn buffers(header: &[u8; HEADER_BYTES]) -> u16 {
    u16::from_le_bytes([header[10], header[11]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nic::PartialChecksum;

    #[test]
    fn a_partial_checksum_is_named_by_its_place() {
        let mut header = [0xff; HEADER_BYTES];
        let checksum = Some(PartialChecksum {
            start: 34,
            offset: 0x110,
        });
        write(
            &mut header,
            TxMeta {
                checksum,
                ..TxMeta::default()
            },
        );
        assert_eq!(header, [1, 0, 0, 0, 0, 0, 34, 0, 0x10, 1, 0, 0]);
    }

    #[test]
    fn a_frame_to_be_cut_says_how() {
        let mut header = [0xff; HEADER_BYTES];
        let meta = TxMeta {
            checksum: Some(PartialChecksum {
                start: 34,
                offset: 16,
            }),
            segment_bytes: core::num::NonZeroU16::new(1448),
            header_bytes: 66,
            is_ipv6: false,
        };
        write(&mut header, meta);
        assert_eq!(header, [1, 1, 66, 0, 0xa8, 5, 34, 0, 16, 0, 0, 0]);
        let meta = TxMeta {
            is_ipv6: true,
            ..meta
        };
        write(&mut header, meta);
        assert_eq!(header[..2], [1, 4]);
    }

    #[test]
    fn a_whole_frame_has_an_empty_header() {
        let mut header = [0xff; HEADER_BYTES];
        write(&mut header, TxMeta::default());
        assert_eq!(header, [0; HEADER_BYTES]);
    }

    #[test]
    fn either_flag_makes_a_checksum_valid() {
        let valid = |flags| read(&[flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).checksum_valid;
        assert_eq!([0, 1, 2, 3, 4].map(valid), [false, true, true, true, false]);
    }

    #[test]
    fn a_frame_put_together_says_of_what_and_where_it_lies() {
        let mut header = [1, 0, 66, 0, 0xa8, 5, 34, 0, 16, 0, 33, 0];
        assert_eq!(read(&header).segment_bytes, 0, "not put together");
        for kind in [CUT_TCP4, CUT_TCP6, CUT_TCP4 | 0x80] {
            header[1] = kind;
            assert_eq!(read(&header).segment_bytes, 1448);
        }
        assert_eq!(buffers(&header), 33);
    }
}
