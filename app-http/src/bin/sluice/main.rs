//! The bootable image: the boot story, and one seat per core.
//!
//! What it says on the console for others to read: `sluice: ready http://ADDR:PORT cores=C
//! queues=Q` when the first request would be answered, `sluice: stats core=N NAME=VALUE …` when
//! asked for, and `sluice: fatal: TEXT` before it gives up.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod monitor;

use alloc::boxed::Box;
use alloc::vec::Vec;
use app_http::options::Options;
use app_http::plan::{BUFFER_BYTES, Plan, RX_BUFFER_BYTES, TX_BUFFER_BYTES};
use app_http::{Server, ServerConfig};
use kernel::machine::{Machine, Seat, ThisCore, console, crash, fatal};
use kernel::virtio::entropy::EntropySource;
use kernel::virtio::{Device, DeviceKind, InterruptTarget, discover};
use kernel::{CoreId, CoreMask, Processor};
use megapipe::channel::{Channel, ChannelConfig};
use megapipe::idle::IdlePolicy;
use monitor::{Asked, Monitor};
use net::address::AddressConfig;
use net::fabric::{FabricPort, fabric, memory_bytes};
use net::stack::{Stack, StackConfig};
use net::virtio_net::{self, QueuePair};
use site::Site;

kernel::entry!(boot);

/// The commands that a channel collects before they are flushed: the paper's figure.
const BATCH: usize = 32;

/// Boots the appliance; runs on the boot core, before the others serve.
fn boot(mut machine: Machine) -> ! {
    // 1. What was asked for.
    let options = or_fatal(Options::parse(machine.command_line()));
    console::set_level(options.log);
    let crash = options
        .crash
        .map(|name| match crash::Kind::from_name(name) {
            Some(kind) => kind,
            None => fatal(format_args!("crash={name}: wanted {}", crash::Kind::NAMES)),
        });

    // 2. The site, checked once.
    let Some(image) = machine.site() else {
        fatal(format_args!("no site: give a packed site as -initrd"));
    };
    let site = or_fatal(Site::parse(image));

    // 3. Devices, and keys that nobody outside may guess.
    let mut devices = discover(&mut machine);
    let mut entropy = Entropy::new(&mut devices);
    let flow_key = entropy.key(&mut machine);

    // 4. Memory, shared out between the cores.
    let cores = machine.cores();
    let free = (machine.memory().free as usize).saturating_sub(memory_bytes(cores));
    let plan = or_fatal(Plan::new(free, cores));

    // 5. The network device, with a queue pair for each core as far as it has them.
    let pairs = open_network(&machine, devices, plan.queue_size);
    let queues = pairs.len();
    log::info!(
        "{} cores, {queues} queue pairs, {} connections per core",
        cores,
        plan.connections
    );

    // 6. What the cores share.
    let has_pair: Vec<bool> = (0..cores).map(|core| core < queues).collect();
    let ports = fabric(&has_pair, flow_key);

    // 7. A seat for each core; they run from here on.
    let asked = Asked {
        stats: options.stats,
        crash,
        port: options.port,
        cores,
        queues,
    };
    let mut pairs = pairs.into_iter();
    let mut seats: Vec<Seat> = Vec::with_capacity(cores);
    for port in ports {
        let parts = Parts {
            site,
            plan,
            pair: pairs.next(),
            port,
            seed: entropy.key(&mut machine),
            address: options.address,
            asked,
        };
        seats.push(Box::new(move |this| serve(this, parts)));
    }
    machine.run(seats)
}

/// What one core serves with.
struct Parts {
    site: Site<'static>,
    plan: Plan,
    pair: Option<QueuePair>,
    port: FabricPort,
    seed: [u8; 32],
    address: AddressConfig,
    asked: Asked,
}

/// Serves for ever on the core that calls.
fn serve(this: ThisCore, parts: Parts) {
    let Plan {
        connections,
        buffers,
        ..
    } = parts.plan;
    let now = this.now();
    let config = StackConfig {
        connections,
        rx_buffer_bytes: RX_BUFFER_BYTES,
        tx_buffer_bytes: TX_BUFFER_BYTES,
        seed: parts.seed,
    };
    let mut stack = Stack::new(config, parts.pair, parts.port, now);
    if this.core() == CoreId::BOOT {
        stack.configure_address(parts.address, now);
    }
    let channel = Channel::create(ChannelConfig {
        handles: connections,
        batch: BATCH,
        buffers,
        buffer_bytes: BUFFER_BYTES,
    });
    let server = Server::new(
        parts.site,
        ServerConfig {
            port: parts.asked.port,
            cores: CoreMask::only(this.core()),
            connections: connections as u32,
            unix_seconds_at_boot: this.unix_seconds() - now.as_nanos() / 1_000_000_000,
        },
    );
    let mut core = megapipe::Core::new(stack, channel, server);
    // Listens, before any core takes a frame in: who answers for a flow must not change later.
    core.turn(this.now());
    this.start_barrier();
    core.run(this, IdlePolicy::default(), Monitor::new(parts.asked))
}

/// Opens the network device with a queue pair for each core, as far as it has them.
fn open_network(machine: &Machine, devices: Vec<Device>, queue_size: u16) -> Vec<QueuePair> {
    let mut devices = devices.into_iter();
    let Some(device) = devices.find(|device| device.kind() == DeviceKind::Network) else {
        fatal(format_args!("no network: give QEMU a virtio-net device"));
    };
    let targets: Vec<InterruptTarget> = machine.interrupt_targets().collect();
    or_fatal(virtio_net::open(device, &targets, queue_size))
}

/// Random bytes: the processor's, or else those of an entropy device.
struct Entropy(Option<EntropySource>);

impl Entropy {
    /// Takes the first entropy device that works out of `devices`.
    fn new(devices: &mut Vec<Device>) -> Self {
        let found = devices
            .iter()
            .position(|device| device.kind() == DeviceKind::Entropy);
        Entropy(
            found.and_then(|index| match EntropySource::open(devices.remove(index)) {
                Ok(source) => Some(source),
                Err(error) => {
                    log::warn!("entropy device: {error}");
                    None
                }
            }),
        )
    }

    /// Returns a key, or ends the machine: guessable keys are worse than no service.
    fn key<const BYTES: usize>(&mut self, machine: &mut Machine) -> [u8; BYTES] {
        let mut key = [0; BYTES];
        if let Err(error) = machine.entropy(&mut key) {
            match &mut self.0 {
                Some(source) => or_fatal(source.fill(&mut key)),
                None => fatal(format_args!("{error}")),
            }
        }
        key
    }
}

fn or_fatal<T, E: core::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => fatal(format_args!("{error}")),
    }
}
