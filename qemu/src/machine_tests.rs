//! The command lines that machines become.

use super::*;

fn user() -> Net {
    Net::User {
        host: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080),
        guest_address: None,
        guest_port: 80,
    }
}

#[test]
fn one_core_on_microvm_with_user_networking() {
    let machine = Machine {
        net: user(),
        site: Some("site.img".into()),
        append: "log=info stats=1".to_owned(),
        ..Machine::new("out/sluice.elf")
    };
    assert_eq!(
        machine.shell_line(),
        "qemu-system-x86_64 -serial stdio -M microvm,rtc=on -accel tcg -cpu max -smp 1 -m 128M -nodefaults \
         -no-user-config -no-reboot -display none \
         -device isa-debug-exit,iobase=0xf4,iosize=4 \
         -global virtio-mmio.force-legacy=false \
         -netdev user,id=net0,hostfwd=tcp:127.0.0.1:8080-:80 \
         -device virtio-net-device,netdev=net0 -kernel out/sluice.elf -initrd site.img \
         -append 'log=info stats=1'"
    );
}

#[test]
fn q35_has_its_devices_on_pci() {
    let machine = Machine {
        kind: MachineKind::Q35,
        accel: Accel::Kvm,
        net: user(),
        has_entropy_device: true,
        ..Machine::new("k")
    };
    let line = machine.shell_line();
    assert!(line.contains("-M q35 -accel kvm -cpu host"), "{line}");
    assert!(line.contains("virtio-net-pci,netdev=net0"), "{line}");
    assert!(line.contains("virtio-rng-pci,rng=rng0"), "{line}");
    assert!(!line.contains("virtio-mmio"), "{line}");
}

#[test]
fn frames_are_written_to_a_file_when_one_is_named() {
    let machine = Machine {
        net: user(),
        pcap: Some("out/a,b.pcap".into()),
        ..Machine::new("k")
    };
    let line = machine.shell_line();
    let object = "-object filter-dump,id=dump0,netdev=net0,file=out/a,,b.pcap";
    assert!(line.contains(object), "{line}");
}

#[test]
fn several_queues_bring_pci_and_vectors_for_all_of_them() {
    let net = Net::Tap {
        interface: "tap0".to_owned(),
        queues: 2,
    };
    let machine = Machine {
        net,
        cores: 2,
        ..Machine::new("k")
    };
    let line = machine.shell_line();
    assert!(line.contains("-M microvm,rtc=on,pcie=on -accel tcg,thread=multi"));
    assert!(line.contains("ifname=tap0,script=no,downscript=no,vhost=off,queues=2"));
    assert!(line.contains(",mq=on,vectors=6"), "{line}");
    let scaled = Machine {
        has_rss: true,
        ..machine
    };
    assert!(scaled.shell_line().contains(",mq=on,rss=on,vectors=6"));
}

#[test]
fn an_address_on_the_kernel_command_line_is_forwarded_to() {
    let net = Net::User {
        host: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1),
        guest_address: Some(Ipv4Addr::new(10, 0, 2, 20)),
        guest_port: 8000,
    };
    let machine = Machine {
        net,
        ..Machine::new("k")
    };
    let line = machine.shell_line();
    assert!(
        line.contains("hostfwd=tcp:127.0.0.1:1-10.0.2.20:8000"),
        "{line}"
    );
}

#[test]
fn words_survive_a_shell() {
    assert_eq!(quoted(OsStr::new("a=b,c")), "a=b,c");
    assert_eq!(quoted(OsStr::new("")), "''");
    assert_eq!(quoted(OsStr::new("my site's")), r"'my site'\''s'");
}

#[test]
fn taps_have_addresses_of_their_own() {
    assert_eq!(mac_for("tap0"), mac_for("tap0"));
    assert_ne!(mac_for("tap0"), mac_for("tap1"));
}
