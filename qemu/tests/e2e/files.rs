//! Every file of a large folder comes back byte for byte.

use crate::client::{Answer, Client};
use crate::folder::{Folder, escaped};
use crate::guest::{self, Appliance};
use crate::namespace::Namespace;
use std::io;

/// Fetches every file over a few connections, and compares.
pub(crate) fn assert_all_served(appliance: &Appliance, folder: &Folder) {
    let mut clients: Vec<Client> = (0..4).map(|_| appliance.client()).collect();
    for (number, file) in folder.files.iter().enumerate() {
        let client = number % clients.len();
        let answer = clients[client].get(&escaped(&file.path));
        assert_is_file(answer, &file.path, &file.content);
    }
}

fn assert_is_file(answer: io::Result<Answer>, path: &str, content: &[u8]) {
    let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(answer.status, 200, "{path}");
    assert_eq!(answer.body.len(), content.len(), "{path}");
    let differs = answer.body.iter().zip(content).position(|(a, b)| a != b);
    assert_eq!(differs, None, "{path}: first byte that differs");
}

#[test]
fn a_thousand_files_of_mixed_size_over_user_networking() {
    let _turn = guest::turn();
    let folder = Folder::mixed(1000, 7);
    let packed = guest::packed(folder.path());
    let appliance = guest::boot(guest::machine(&packed));
    assert_all_served(&appliance, &folder);
}

#[test]
fn a_thousand_files_of_mixed_size_over_a_tap_with_two_cores() {
    let _turn = guest::turn();
    Namespace::with(1, |namespace| {
        let folder = Folder::mixed(1000, 8);
        let packed = guest::packed(folder.path());
        let mut machine = guest::machine(&packed);
        machine.cores = 2;
        let appliance = guest::boot_on_tap(machine, namespace);
        assert_all_served(&appliance, &folder);
    });
}
