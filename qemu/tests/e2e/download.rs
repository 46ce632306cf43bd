//! A large answer that is under way while something happens to the guest.

use crate::client::Client;
use crate::folder::{Folder, Random};
use std::net::SocketAddr;

/// More than all buffers between guest and client hold.
const LARGE: usize = 48 << 20;

/// A folder with a file that is large.
pub(crate) fn folder_with_large_file() -> Folder {
    let mut folder = Folder::small();
    folder.add("/large.bin", Random::new(3).bytes(LARGE));
    folder
}

/// A download of that file of which a part has been read.
pub(crate) struct Download {
    client: Client,
    body: Vec<u8>,
}

impl Download {
    pub(crate) fn begin(address: SocketAddr) -> Self {
        let mut client = Client::connect(address).expect("no connection");
        client
            .send(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        assert_eq!(client.head().unwrap().status, 200);
        let body = client.part(1 << 20).unwrap();
        Download { client, body }
    }

    /// Reads the rest, and compares.
    pub(crate) fn assert_is_whole(mut self, folder: &Folder) {
        self.body.extend(self.client.read_to_end().unwrap());
        let file = folder.files.last().unwrap();
        assert_eq!(self.body.len(), file.content.len());
        assert!(self.body == file.content, "other bytes");
    }
}
