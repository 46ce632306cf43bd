//! A site that is packed again when it changes, beside the guest that serves what was there before.
//!
//! Upstream: [`Watch`]. Downstream: `boot`, which asks now and then and boots what was packed.

use crate::Failure;
use crate::console::complain;
use crate::memory::{fit_memory, machine_memory_mib};
use crate::options::RunOptions;
use crate::pack::{self, Keep, PackedSite};
use crate::serve::folder;
use crate::watch::Watch;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What was packed.
#[derive(Debug)]
pub(crate) struct Repacked {
    pub(crate) site: PackedSite,
    /// The memory of a guest for it.
    pub(crate) memory_mib: u64,
    pub(crate) took: Duration,
}

/// Packs what is watched.
#[derive(Debug)]
pub(crate) struct Repack {
    watch: Watch,
    options: RunOptions,
    work: Option<JoinHandle<Result<Repacked, Failure>>>,
}

impl Repack {
    pub(crate) fn new(watch: Watch, options: &RunOptions) -> Self {
        Repack {
            watch,
            options: options.clone(),
            work: None,
        }
    }

    /// Begins to pack when something has changed, and returns what was packed when it is ready.
    /// A site that cannot be packed is told, and what is served stays.
    pub(crate) fn poll(&mut self) -> Option<Repacked> {
        if let Some(work) = self.work.take_if(|work| work.is_finished()) {
            match work.join() {
                Ok(Ok(packed)) => return Some(packed),
                // The command ends, and says why.
                Ok(Err(Failure::Stopped(_))) => {}
                Ok(Err(failure)) => complain(&format!("{failure} (serving what was there before)")),
                Err(_) => complain("packing failed (serving what was there before)"),
            }
        }
        if self.work.is_none() && self.watch.has_changed() {
            // What changes from here on is packed the next time.
            self.watch.handle_packed();
            let options = self.options.clone();
            self.work = Some(thread::spawn(move || pack_again(&options)));
        }
        None
    }
}

impl Drop for Repack {
    fn drop(&mut self) {
        // It ends early when the command does, and removes what it has begun.
        if let Some(work) = self.work.take() {
            let _ = work.join();
        }
    }
}

fn pack_again(options: &RunOptions) -> Result<Repacked, Failure> {
    let started = Instant::now();
    let site = pack::pack_to_out(&folder(options), &options.pack, Keep::WhileRunning)?;
    Ok(Repacked {
        memory_mib: fit_memory(&site, options, machine_memory_mib())?,
        took: started.elapsed(),
        site,
    })
}
