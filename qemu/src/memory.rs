//! How much memory a guest gets: enough for its site, and not more than this machine has.

use crate::Failure;
use crate::limits::{MICROVM_SITE_MIB, Q35_SITE_MIB, SPARE_MEMORY_MIB, appliance_memory_mib};
use crate::options::{MachineKind, RunOptions};
use crate::pack::PackedSite;
use std::fs;

/// Returns the guest's memory in MiB: what was asked for if the site fits in, else what it needs.
/// `machine_mib` is the memory of this machine, if it is known.
pub(crate) fn fit_memory(
    site: &PackedSite,
    options: &RunOptions,
    machine_mib: Option<u64>,
) -> Result<u64, Failure> {
    let site_mib = site.size_mib();
    let appliance_mib = appliance_memory_mib(options.cores);
    let needed_mib = site_mib + appliance_mib;
    let limit_mib = match options.machine {
        MachineKind::Microvm => MICROVM_SITE_MIB,
        MachineKind::Q35 => Q35_SITE_MIB,
    };
    if site_mib > limit_mib {
        return Err(Failure::Usage(format!(
            "the packed site takes {site_mib} MiB, more than the {limit_mib} MiB that QEMU can hand \
             to a guest on {}: serve less from one site",
            options.machine.name()
        )));
    }
    let memory_mib = match options.memory_mib {
        None => site_mib + SPARE_MEMORY_MIB,
        Some(given_mib) if given_mib >= needed_mib => given_mib,
        Some(given_mib) => {
            return Err(Failure::Usage(format!(
                "the packed site takes {site_mib} MiB and the appliance {appliance_mib} MiB, more \
                 than --memory {given_mib}: give --memory {needed_mib} or more"
            )));
        }
    };
    match machine_mib {
        Some(machine_mib) if memory_mib > machine_mib => Err(Failure::Usage(format!(
            "the guest needs {memory_mib} MiB (the packed site {site_mib} MiB), more than this \
             machine has ({machine_mib} MiB): serve less from one site"
        ))),
        _ => Ok(memory_mib),
    }
}

/// Returns the memory of this machine in MiB.
pub(crate) fn machine_memory_mib() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use site::pack::Summary;

    fn site(image_bytes: u64) -> PackedSite {
        PackedSite {
            file: "site.img".into(),
            summary: Summary {
                image_bytes,
                ..Summary::default()
            },
        }
    }

    fn fit(site_mib: u64, memory_mib: Option<u64>, machine: MachineKind) -> Result<u64, String> {
        let options = RunOptions {
            memory_mib,
            machine,
            ..RunOptions::default()
        };
        let fitted = fit_memory(&site(site_mib << 20), &options, Some(2500));
        fitted.map_err(|failure| {
            assert_eq!(failure.code(), 2);
            failure.to_string()
        })
    }

    #[test]
    fn memory_fits_the_site_unless_it_is_given() {
        assert_eq!(fit(1, None, MachineKind::Microvm), Ok(1 + SPARE_MEMORY_MIB));
        assert_eq!(fit(1, Some(16), MachineKind::Microvm), Ok(16));
        let text = fit(100, Some(64), MachineKind::Microvm).unwrap_err();
        assert!(
            text.contains("100 MiB") && text.contains("--memory 64"),
            "{text}"
        );
        assert!(text.contains("give --memory 112 or more"), "{text}");
    }

    #[test]
    fn many_cores_need_more() {
        let options = RunOptions {
            memory_mib: Some(64),
            cores: 32,
            ..RunOptions::default()
        };
        let refused = fit_memory(&site(1), &options, None).unwrap_err();
        let text = refused.to_string();
        assert!(
            text.contains("the appliance 103 MiB, more than --memory 64"),
            "{text}"
        );
        assert!(text.contains("give --memory 104 or more"), "{text}");
    }

    #[test]
    fn a_site_that_no_guest_can_hold_is_refused_with_what_it_needs() {
        let text = fit(2400, None, MachineKind::Microvm).unwrap_err();
        assert!(
            text.contains("needs 2528 MiB") && text.contains("(2500 MiB)"),
            "{text}"
        );
        let text = fit(2400, None, MachineKind::Q35).unwrap_err();
        assert!(
            text.contains("takes 2400 MiB, more than the 2047 MiB") && text.contains("on q35"),
            "{text}"
        );
        let text = fit(3072, None, MachineKind::Microvm).unwrap_err();
        assert!(text.contains("more than the 3071 MiB"), "{text}");
    }
}
