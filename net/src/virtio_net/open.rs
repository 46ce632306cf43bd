//! From a device to queue pairs: features, configuration, queues, and how many of them to use
//! (VirtIO 1.2 §5.1.3–§5.1.5, §5.1.6.5.5).

use super::header::HEADER_BYTES;
use super::queue_pair::{QueuePair, Trust};
use crate::nic::NicInfo;
use crate::rss::{self, Rss};
use alloc::vec::Vec;
use core::fmt;
use kernel::virtio::device::{
    Device, DeviceKind, InterruptTarget, NegotiateError, QueueError, QueueRequest, features,
};
use kernel::virtio::exchange::{ExchangeError, ExchangeQueue};
use kernel::virtio::limits::{
    EXCHANGE_BYTES, RX_BUFFER_BYTES, RX_FRAME_QUEUE_SIZE, TX_BUFFER_BYTES, TX_TAIL_PIECES,
};

/// Features of a network device (VirtIO 1.2 §5.1.3).
mod feature {
    pub(super) const CSUM: u64 = 1 << 0;
    pub(super) const GUEST_CSUM: u64 = 1 << 1;
    pub(super) const MTU: u64 = 1 << 3;
    pub(super) const MAC: u64 = 1 << 5;
    pub(super) const GUEST_TSO4: u64 = 1 << 7;
    pub(super) const GUEST_TSO6: u64 = 1 << 8;
    pub(super) const HOST_TSO4: u64 = 1 << 11;
    pub(super) const HOST_TSO6: u64 = 1 << 12;
    pub(super) const MRG_RXBUF: u64 = 1 << 15;
    pub(super) const CTRL_VQ: u64 = 1 << 17;
    pub(super) const MQ: u64 = 1 << 22;
    pub(super) const RSS: u64 = 1 << 60;
}

/// Offsets in the configuration space, in bytes (VirtIO 1.2 §5.1.4).
mod config {
    pub(super) const MAX_QUEUE_PAIRS: usize = 8;
    pub(super) const MTU: usize = 10;
    pub(super) const RSS_MAX_KEY_BYTES: usize = 17;
    pub(super) const RSS_MAX_BUCKETS: usize = 18;
    pub(super) const RSS_HASH_TYPES: usize = 20;
}

/// Control command: class MQ, command VQ_PAIRS_SET (VirtIO 1.2 §5.1.6.5.5).
const SET_QUEUE_PAIRS: [u8; 2] = [4, 0];
/// Control command: class MQ, command RSS_CONFIG (VirtIO 1.2 §5.1.6.5.7).
const SET_RSS: [u8; 2] = [4, 1];
/// Bytes of that command.
const SET_RSS_BYTES: usize = 2 + 4 + 2 + 2 + 2 * rss::BUCKETS + 2 + 1 + rss::KEY_BYTES;
/// TCP over IPv4 and IPv6 is hashed with its ports (VIRTIO_NET_RSS_HASH_TYPE_TCPv4, _TCPv6); all else
/// goes to the first queue.
const HASH_TCP: u16 = 1 << 1 | 1 << 4;
/// Reply of the control queue: done.
const CONTROL_OK: u8 = 0;

/// The MTU of a device that does not say, in bytes.
const DEFAULT_MTU_BYTES: u16 = 1500;
/// Largest frame that the device is given to cut: a packet's length is a field of 16 bits.
const TSO_MAX_BYTES: u32 = 14 + 65_535;
/// The smallest MTU taken from a device, in bytes.
const MIN_MTU_BYTES: u16 = 576;
/// The largest MTU that fits the buffers, in bytes: a device with a larger one is used with the
/// default.
pub const MAX_MTU_BYTES: u16 = (RX_BUFFER_BYTES - HEADER_BYTES - ETHERNET_HEADER_BYTES) as u16;
/// Bytes of an Ethernet header with one VLAN tag.
const ETHERNET_HEADER_BYTES: usize = 18;

const _: () = assert!(SET_RSS_BYTES <= EXCHANGE_BYTES);
const _: () = assert!(RX_BUFFER_BYTES <= TX_BUFFER_BYTES && MAX_MTU_BYTES > DEFAULT_MTU_BYTES);

/// Why a network device could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// The caller gave a device of another kind.
    NotANetwork,
    /// The caller asked for no queue pair.
    NoTargets,
    /// The driver and the device did not come to terms.
    Negotiate(NegotiateError),
    /// The device has no station address (VIRTIO_NET_F_MAC), or one that is no station's.
    NoMac,
    /// The device's configuration space ends before a field that its features promise.
    ShortConfig,
    /// The device offers multiqueue with this many pairs, which is outside of 1..=32,768.
    BadPairCount(u16),
    /// The device cannot interrupt (no MSI-X).
    NoInterrupts,
    /// A queue, by its number, could not be set up.
    Queue(u16, QueueError),
    /// The device did not do as told on the control queue.
    Control(ExchangeError),
    /// The device refused to use this many queue pairs.
    PairsRefused(u16),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::NotANetwork => f.write_str("not a network device"),
            OpenError::NoTargets => f.write_str("no queue pair was asked for"),
            OpenError::Negotiate(error) => error.fmt(f),
            OpenError::NoMac => f.write_str("the device has no usable MAC address"),
            OpenError::ShortConfig => f.write_str("the device's configuration is too short"),
            OpenError::BadPairCount(pairs) => write!(f, "the device claims {pairs} queue pairs"),
            OpenError::NoInterrupts => f.write_str("the device has no interrupts (no MSI-X)"),
            OpenError::Queue(index, error) => write!(f, "queue {index}: {error}"),
            OpenError::Control(error) => write!(f, "control queue: {error}"),
            OpenError::PairsRefused(pairs) => {
                write!(f, "the device refuses to use {pairs} queue pairs")
            }
        }
    }
}

/// What the device's configuration says.
struct Config {
    mac: [u8; 6],
    mtu: u16,
    /// Queue pairs that the device has; the control queue comes behind all of them.
    max_pairs: u16,
    /// The device can spread flows with our key and table.
    can_scale: bool,
}

/// An open device.
pub struct Opened {
    /// Its queue pairs, in core order.
    pub pairs: Vec<QueuePair>,
    /// It spreads flows as it was asked to, so that each arrives on its home's queue.
    pub scales: bool,
}

/// Opens `device` and starts it with one queue pair for each of `targets`, which are the cores to
/// interrupt, in core order; with fewer when the device has fewer pairs or interrupts. Each queue
/// has at most `queue_size` descriptors, and two buffers of 2 KiB for each. A device with several
/// pairs is told to spread flows by `rss`, if it can.
///
/// # Errors
/// See [`OpenError`]. The device is told that it was given up.
pub fn open(
    mut device: Device,
    targets: &[InterruptTarget],
    queue_size: u16,
    rss: &Rss,
) -> Result<Opened, OpenError> {
    let opened = open_or_fail(&mut device, targets, queue_size, rss);
    if opened.is_err() {
        device.give_up();
    }
    opened
}

fn open_or_fail(
    device: &mut Device,
    targets: &[InterruptTarget],
    queue_size: u16,
    rss: &Rss,
) -> Result<Opened, OpenError> {
    if device.kind() != DeviceKind::Network {
        return Err(OpenError::NotANetwork);
    }
    if targets.is_empty() {
        return Err(OpenError::NoTargets);
    }
    let wants_several = targets.len() > 1 && device.interrupt_lines() > 1;
    let accepted = device
        .negotiate(|device, offered| {
            choose_features(device, offered, wants_several)
                | large_receive_features(device, offered, targets.len(), queue_size)
        })
        .map_err(OpenError::Negotiate)?;
    let config = read_config(device, accepted)?;
    let lines = device.interrupt_lines();
    if lines == 0 {
        return Err(OpenError::NoInterrupts);
    }
    let pairs = targets.len().min(config.max_pairs.into()).min(lines);

    let info = nic_info(&config, accepted);
    let trust = Trust {
        checksums: accepted & feature::GUEST_CSUM != 0,
        several_buffers: accepted & feature::MRG_RXBUF != 0,
    };
    let mut opened = Vec::with_capacity(pairs);
    for (pair, &target) in targets.iter().enumerate().take(pairs) {
        let index = 2 * pair as u16;
        device
            .route(pair, target)
            .map_err(|error| OpenError::Queue(index, error))?;
        let request = |index| QueueRequest {
            index,
            max_size: queue_size,
            interrupt_line: Some(pair),
        };
        let rx = device
            .rx_queue(request(index), HEADER_BYTES as u32)
            .map_err(|error| OpenError::Queue(index, error))?;
        let tx = device
            .tx_queue(request(index + 1))
            .map_err(|error| OpenError::Queue(index + 1, error))?;
        let acknowledge = device.interrupt_acknowledge();
        opened.push(QueuePair::new(info, rx, tx, trust, acknowledge));
    }
    let control = match pairs {
        1 => None,
        _ => {
            let index = 2 * config.max_pairs;
            let queue = device.exchange_queue(index);
            Some(queue.map_err(|error| OpenError::Queue(index, error))?)
        }
    };
    device.start();
    let mut scales = false;
    if let Some(mut control) = control {
        let rss = config.can_scale.then_some(rss);
        scales = spread(&mut control, rss, &mut opened)?;
    }
    Ok(Opened {
        pairs: opened,
        scales,
    })
}

/// Tells the device to use all of several pairs, by `rss` if it can. Returns whether it does.
fn spread(
    control: &mut ExchangeQueue,
    rss: Option<&Rss>,
    pairs: &mut [QueuePair],
) -> Result<bool, OpenError> {
    let count = pairs.len() as u16;
    if let Some(rss) = rss
        && use_rss(control, rss, count)?
    {
        pairs.iter_mut().for_each(QueuePair::set_scaled);
        return Ok(true);
    }
    use_pairs(control, count)?;
    Ok(false)
}

/// Says what a queue pair of this device can do.
fn nic_info(config: &Config, accepted: u64) -> NicInfo {
    let has = |feature| accepted & feature != 0;
    NicInfo {
        mac: config.mac,
        mtu: config.mtu,
        tx_checksum: has(feature::CSUM),
        tail_pieces: if has(features::INDIRECT) {
            TX_TAIL_PIECES
        } else {
            0
        },
        tso4_max_bytes: tso_max_bytes(has(feature::HOST_TSO4)),
        tso6_max_bytes: tso_max_bytes(has(feature::HOST_TSO6)),
    }
}

const fn tso_max_bytes(cuts: bool) -> u32 {
    if cuts { TSO_MAX_BYTES } else { 0 }
}

/// Picks the features that the driver has a use for.
fn choose_features(device: &mut Device, offered: u64, wants_several: bool) -> u64 {
    let mut wanted = feature::CSUM | feature::GUEST_CSUM | feature::MAC;
    wanted |= features::EVENT_INDEX | features::INDIRECT;
    // A frame that is cut is larger than a buffer, so the device must take its tail from elsewhere;
    // and cutting needs the checksum (VirtIO 1.2 §5.1.3.1).
    let for_cutting = feature::CSUM | features::INDIRECT;
    if offered & for_cutting == for_cutting {
        wanted |= feature::HOST_TSO4 | feature::HOST_TSO6;
    }
    // A device whose MTU is accepted may send frames of that size; larger ones have no buffer.
    let mtu = device.config_u16(config::MTU);
    if mtu.is_some_and(|mtu| (MIN_MTU_BYTES..=MAX_MTU_BYTES).contains(&mtu)) {
        wanted |= feature::MTU;
    }
    if wants_several && offered & feature::CTRL_VQ != 0 {
        wanted |= feature::CTRL_VQ | feature::MQ | feature::RSS;
    }
    wanted
}

/// Picks what makes the device bring several segments in one frame, in as many buffers as that takes
/// (VirtIO 1.2 §5.1.3.1): without those buffers each would have to be of 64 KiB. Nothing when one of
/// the receive queues, of `pairs` pairs at most, has no room for the largest frame.
fn large_receive_features(device: &mut Device, offered: u64, pairs: usize, queue_size: u16) -> u64 {
    let needed = feature::GUEST_CSUM | feature::MRG_RXBUF;
    let large = offered & (feature::GUEST_TSO4 | feature::GUEST_TSO6);
    // A queue that the device does not have will not be used.
    let is_enough = |size| size == 0 || size >= RX_FRAME_QUEUE_SIZE;
    let fits = (0..pairs as u16).all(|pair| is_enough(device.queue_size(2 * pair, queue_size)));
    match offered & needed == needed && large != 0 && fits {
        true => large | feature::MRG_RXBUF,
        false => 0,
    }
}

fn read_config(device: &mut Device, accepted: u64) -> Result<Config, OpenError> {
    let mut mac = [0; 6];
    for (offset, byte) in mac.iter_mut().enumerate() {
        *byte = device.config_u8(offset).ok_or(OpenError::ShortConfig)?;
    }
    let is_group_address = mac[0] & 1 != 0;
    if accepted & feature::MAC == 0 || is_group_address || mac == [0; 6] {
        return Err(OpenError::NoMac);
    }
    let mtu = match accepted & feature::MTU {
        0 => DEFAULT_MTU_BYTES,
        _ => {
            let mtu = device
                .config_u16(config::MTU)
                .ok_or(OpenError::ShortConfig)?;
            mtu.clamp(MIN_MTU_BYTES, MAX_MTU_BYTES)
        }
    };
    let max_pairs = match accepted & feature::MQ {
        0 => 1,
        _ => device
            .config_u16(config::MAX_QUEUE_PAIRS)
            .ok_or(OpenError::ShortConfig)?,
    };
    // VirtIO 1.2 §5.1.4.1: 1 to 0x8000; the queue numbers of the last would not fit 16 bits.
    if max_pairs == 0 || max_pairs >= 0x8000 {
        return Err(OpenError::BadPairCount(max_pairs));
    }
    Ok(Config {
        mac,
        mtu,
        max_pairs,
        can_scale: accepted & feature::RSS != 0 && can_scale(device),
    })
}

/// Returns whether the device takes our key, our table, and hashes what we have flows of.
fn can_scale(device: &mut Device) -> bool {
    let key_bytes = device.config_u8(config::RSS_MAX_KEY_BYTES);
    let buckets = device.config_u16(config::RSS_MAX_BUCKETS);
    let hash_types = device.config_u16(config::RSS_HASH_TYPES);
    key_bytes.is_some_and(|bytes| usize::from(bytes) >= rss::KEY_BYTES)
        && buckets.is_some_and(|buckets| usize::from(buckets) >= rss::BUCKETS)
        && hash_types.is_some_and(|types| types & HASH_TCP == HASH_TCP)
}

/// Tells the device to spread flows over the first `pairs` pairs by `rss`; false when it will not.
fn use_rss(control: &mut ExchangeQueue, rss: &Rss, pairs: u16) -> Result<bool, OpenError> {
    let mut command = Vec::with_capacity(SET_RSS_BYTES);
    command.extend(SET_RSS);
    command.extend(u32::from(HASH_TCP).to_le_bytes());
    command.extend((rss::BUCKETS as u16 - 1).to_le_bytes());
    // What is not hashed: to the first queue.
    command.extend(0_u16.to_le_bytes());
    for queue in rss.table(pairs.into()) {
        command.extend(queue.to_le_bytes());
    }
    command.extend(pairs.to_le_bytes());
    command.push(rss::KEY_BYTES as u8);
    command.extend(rss.key());
    let reply = control.exchange(&command, 1).map_err(OpenError::Control)?;
    Ok(reply == [CONTROL_OK])
}

/// Tells the device to spread what it receives over the first `pairs` pairs.
fn use_pairs(control: &mut ExchangeQueue, pairs: u16) -> Result<(), OpenError> {
    let [low, high] = pairs.to_le_bytes();
    let [class, command] = SET_QUEUE_PAIRS;
    let reply = control.exchange(&[class, command, low, high], 1);
    match reply.map_err(OpenError::Control)? {
        [CONTROL_OK] => Ok(()),
        _ => Err(OpenError::PairsRefused(pairs)),
    }
}
