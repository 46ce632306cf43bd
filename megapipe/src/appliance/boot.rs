//! The boot story: from the machine to one seat per core.
//!
//! What it says on the console for others to read: `sluice: ready SCHEME://ADDR:PORT cores=C
//! queues=Q` when the first connection would be answered, `sluice: stats core=N NAME=VALUE …` when
//! asked for, and `sluice: fatal: TEXT` before it gives up.

use super::command_line::CommandLine;
use super::memory_plan::{Footprint, Plan};
use super::monitor::{Asked, Monitor};
use super::settings::{Settings, take_port};
use crate::channel::{Channel, ChannelConfig};
use crate::core::{Application, Core};
use crate::idle::IdlePolicy;
use crate::limits::DEFAULT_BATCH_COMMANDS;
use crate::writes::IoSlice;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt::Display;
use kernel::machine::{ClockChip, Machine, Seat, ThisCore, console, crash, fatal};
use kernel::power_button::PowerButton;
use kernel::virtio::entropy::EntropySource;
use kernel::virtio::{Device, DeviceKind, InterruptTarget, discover};
use kernel::wall_clock::WallClock;
use kernel::{CoreId, Processor};
use net::Lent;
use net::fabric::{FabricPort, fabric_with_rss, memory_bytes};
use net::rss::Rss;
use net::stack::{Stack, StackConfig};
use net::virtio_net::{self, Opened, QueuePair};

/// What an appliance serves, and with how much.
#[derive(Debug, Clone)]
pub struct Service {
    /// What is said before the address in the ready line: `http`, or `tcp`.
    pub scheme: &'static str,
    /// The port that the ready line names.
    pub port: u16,
    /// What its connections take.
    pub footprint: Footprint,
    /// Commands that a channel collects before they are flushed.
    pub batch: usize,
    /// When a core goes to sleep.
    pub idle: IdlePolicy,
}

impl Service {
    /// Returns a service over TCP with the defaults.
    pub fn tcp(port: u16) -> Self {
        Service {
            scheme: "tcp",
            port,
            footprint: Footprint::default(),
            batch: DEFAULT_BATCH_COMMANDS,
            idle: IdlePolicy::default(),
        }
    }
}

/// Timers of a channel beside one for each connection.
const TIMERS_BESIDE: usize = 64;

/// Where an application runs, and with how much.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The core.
    pub core: CoreId,
    /// Cores of the appliance.
    pub cores: usize,
    /// Connections at once on this core.
    pub connections: usize,
    /// Chunks of receive memory of the core's stack.
    pub chunks: usize,
    /// Buffers of the channel's own.
    pub buffers: usize,
    /// Timers that can be set at once: one for each connection, and some.
    pub timers: usize,
    /// The wall clock, which is corrected while the appliance runs.
    pub wall_clock: WallClock,
    /// Random bytes of this core's own, for what nobody outside may guess.
    pub secret: [u8; 16],
}

/// One core with its stack, before it serves. `P` is the memory that it sends from.
pub struct Seated<P = IoSlice> {
    /// The core that runs the caller.
    pub processor: ThisCore,
    /// Its stack.
    pub stack: Stack<QueuePair, P>,
    /// Its place.
    pub place: Place,
    /// What tells on the console that it is ready, and its counters.
    pub monitor: Monitor,
    /// The machine's power button, on the boot core of one that has it.
    pub power_button: Option<PowerButton>,
}

/// An appliance that boots.
#[derive(Debug)]
pub struct Appliance {
    machine: Machine,
    line: CommandLine<'static>,
    settings: Settings<'static>,
    crash: Option<crash::Kind>,
}

impl Appliance {
    /// Begins to boot: takes the words of every appliance out of the command line. A word that
    /// cannot be ends the machine, with an error that names it.
    pub fn new(machine: Machine) -> Self {
        let mut line = CommandLine::new(machine.command_line());
        let settings = or_fatal(Settings::take_from(&mut line));
        console::set_level(settings.log);
        let crash = settings
            .crash
            .map(|name| match crash::Kind::from_name(name) {
                Some(kind) => kind,
                None => fatal(format_args!("crash={name}: wanted {}", crash::Kind::NAMES)),
            });
        Appliance {
            machine,
            line,
            settings,
            crash,
        }
    }

    /// Returns the machine: its memory, its clock, the loader's module.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Takes the word `port=` out of the command line.
    pub fn port(&mut self, default: u16) -> u16 {
        or_fatal(take_port(&mut self.line, default))
    }

    /// Takes the words `name=VALUE` out of the command line: one of the appliance's own. Returns
    /// what `parse` makes of the last one's value, and ends the machine with an error that says
    /// what was `wanted` when it makes nothing of one.
    pub fn word<T>(
        &mut self,
        name: &'static str,
        wanted: &'static str,
        parse: impl Fn(&'static str) -> Option<T>,
    ) -> Option<T> {
        or_fatal(self.line.take(name, wanted, parse))
    }

    /// Returns when the cores of `service` go to sleep: as it says, but for what the command line does.
    pub fn idle_policy(&self, service: &Service) -> IdlePolicy {
        IdlePolicy {
            poll: self.settings.poll.unwrap_or(service.idle.poll),
            ..service.idle
        }
    }

    /// Boots, and serves for ever: on every core, over its own channel, the application that
    /// `build` makes there, until the power button ends it at once. It listens in `build` or in its first [`run`](Application::run): both
    /// are over on every core before any core takes a frame in.
    pub fn serve<A, F>(self, service: Service, build: F) -> !
    where
        A: Application + 'static,
        F: FnOnce(Place, &mut Channel) -> A + Clone + Send + 'static,
    {
        let (batch, idle) = (service.batch, self.idle_policy(&service));
        let buffer_bytes = service.footprint.buffer_bytes;
        self.run(service, move |seated: Seated| {
            let (processor, place) = (seated.processor, seated.place);
            let mut channel = Channel::create(ChannelConfig {
                handles: place.connections,
                batch,
                chunks: place.chunks,
                buffers: place.buffers,
                buffer_bytes,
                timers: place.timers,
            });
            let application = build(place, &mut channel);
            let mut core = Core::new(seated.stack, channel, application);
            // Listens: who answers for a flow must not change later.
            core.turn(processor.now());
            processor.start_barrier();
            let monitor = seated.monitor.with_power_button(seated.power_button);
            core.run(processor, idle, monitor)
        })
    }

    /// Boots, and runs `seat` on every core with the core's stack; for what is not an application
    /// over a channel. The seat never returns, and calls
    /// [`start_barrier`](ThisCore::start_barrier) once it has all the memory it will use.
    pub fn run<P, F>(mut self, service: Service, seat: F) -> !
    where
        P: Lent,
        F: FnOnce(Seated<P>) + Clone + Send + 'static,
    {
        // 1. Nothing was asked for that nobody knows.
        or_fatal(core::mem::replace(&mut self.line, CommandLine::new("")).finish());
        let machine = &mut self.machine;

        // 2. Devices, and keys that nobody outside may guess.
        let mut devices = discover(machine);
        let mut entropy = Entropy::new(&mut devices);
        let flow_key = entropy.key(machine);
        let rss_key = entropy.key(machine);

        // 3. Memory, shared out between the cores.
        let cores = machine.cores();
        let free = (machine.memory().free as usize).saturating_sub(memory_bytes(cores));
        let plan = or_fatal(Plan::new(free, cores, &service.footprint));

        // 4. The network device, with a queue pair for each core as far as it has them.
        let rss = Rss::new(rss_key, cores);
        let Opened { pairs, scales } = open_network(machine, devices, plan.queue_size, &rss);
        let queues = pairs.len();
        log::info!(
            "{cores} cores, {queues} queue pairs{}, {} connections per core",
            if scales { " with RSS" } else { "" },
            plan.connections
        );

        // 5. What the cores share.
        let has_pair: Vec<bool> = (0..cores).map(|core| core < queues).collect();
        let ports = fabric_with_rss(&has_pair, flow_key, scales.then_some(rss));

        // 6. What the host asks the machine to end with, and what tells the time of day.
        let mut power_button = machine.power_button();
        let has_button = power_button.as_ref().map_or("none", |_| "yes");
        log::info!("power button: {has_button}");
        let (wall_clock, mut clock_chip) = (machine.wall_clock(), machine.clock_chip());

        // 7. A seat for each core; they run from here on.
        let asked = Asked {
            stats: self.settings.stats,
            crash: self.crash,
            scheme: service.scheme,
            port: service.port,
            cores,
            queues,
        };
        let mut pairs = pairs.into_iter();
        let mut seats: Vec<Seat> = Vec::with_capacity(cores);
        for port in ports {
            let parts = Parts {
                footprint: service.footprint,
                plan,
                pair: pairs.next(),
                power_button: power_button.take(),
                wall_clock,
                clock_chip: clock_chip.take(),
                port,
                seed: entropy.key(machine),
                secret: entropy.key(machine),
                settings: self.settings.clone(),
                asked,
            };
            let seat = seat.clone();
            seats.push(Box::new(move |this| seat(parts.seated(this))));
        }
        self.machine.run(seats)
    }
}

/// What the boot core gives to each.
struct Parts {
    footprint: Footprint,
    plan: Plan,
    pair: Option<QueuePair>,
    power_button: Option<PowerButton>,
    wall_clock: WallClock,
    clock_chip: Option<ClockChip>,
    port: FabricPort,
    seed: [u8; 32],
    secret: [u8; 16],
    settings: Settings<'static>,
    asked: Asked,
}

impl Parts {
    /// Makes the core's stack, on the core.
    fn seated<P: Lent>(self, this: ThisCore) -> Seated<P> {
        let now = this.now();
        let config = StackConfig {
            connections: self.plan.connections,
            window_bytes: self.footprint.window_bytes,
            chunks: self.plan.chunks,
            chunk_bytes: self.footprint.chunk_bytes,
            keep_alive: self.settings.keep_alive,
            seed: self.seed,
        };
        let mut stack = Stack::new(config, self.pair, self.port, now);
        if this.core() == CoreId::BOOT {
            stack.configure_address(&self.settings.address, now);
        }
        Seated {
            place: Place {
                secret: self.secret,
                core: this.core(),
                cores: self.asked.cores,
                connections: self.plan.connections,
                chunks: self.plan.chunks,
                buffers: self.plan.buffers,
                timers: self.plan.connections + TIMERS_BESIDE,
                wall_clock: self.wall_clock,
            },
            processor: this,
            stack,
            monitor: Monitor::new(self.asked, self.clock_chip, now),
            power_button: self.power_button,
        }
    }
}

/// Opens the network device with a queue pair for each core, as far as it has them.
fn open_network(machine: &Machine, devices: Vec<Device>, queue_size: u16, rss: &Rss) -> Opened {
    let mut devices = devices.into_iter();
    let Some(device) = devices.find(|device| device.kind() == DeviceKind::Network) else {
        fatal(format_args!("no network: give QEMU a virtio-net device"));
    };
    let targets: Vec<InterruptTarget> = machine.interrupt_targets().collect();
    or_fatal(virtio_net::open(device, &targets, queue_size, rss))
}

/// Random bytes: the processor's, mixed with those of an entropy device where there is one.
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
        let processor = machine.entropy(&mut key);
        if processor.is_err() {
            key = [0; BYTES];
        }
        match (
            processor,
            self.0.as_mut().map(|source| source.mix(&mut key)),
        ) {
            (_, Some(Ok(()))) | (Ok(()), None) => {}
            (Ok(()), Some(Err(error))) => {
                log::warn!("entropy device: {error}");
                self.0 = None;
            }
            (Err(_), Some(Err(error))) => fatal(format_args!("{error}")),
            (Err(error), None) => fatal(format_args!("{error}")),
        }
        key
    }
}

/// Returns what a result holds, or ends the machine with the error's text as its last words.
pub fn or_fatal<T, E: Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => fatal(format_args!("{error}")),
    }
}
