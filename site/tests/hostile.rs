//! What the fuzz targets run, over inputs made from a seed: for toolchains that cannot fuzz.

#[path = "support/hostile.rs"]
mod hostile;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    fn pick<'t>(&mut self, choices: &[&'t [u8]]) -> &'t [u8] {
        choices[self.next() as usize % choices.len()]
    }
}

#[test]
fn images_of_any_bytes_are_harmless() {
    let mut random = Random(3);
    for round in 0..4_000 {
        let length = random.next() % if round % 50 == 0 { 20_000 } else { 60 };
        let data: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        hostile::site_image(&data);
    }
}

#[test]
fn control_files_of_any_words_are_refused_or_make_an_image_that_reads() {
    const WORDS: [&[u8]; 36] = [
        b"/",
        b"/a",
        b"/a.html",
        b"/old",
        b"/*",
        b"*",
        b"/:x",
        b"/:y",
        b":splat",
        b":x",
        b" ",
        b" ",
        b"\t",
        b"\n",
        b"\n",
        b"\n  ",
        b"301",
        b"302!",
        b"200",
        b"404",
        b"200!",
        b"#",
        b"?q=1",
        b"https://example.org",
        b"X-A: b",
        b"Cache-Control: no-store",
        b"! X-A",
        b"%20",
        b"%",
        b"\xc3\xa4",
        b"\xff",
        b"\r",
        b"//",
        b"..",
        b"/index.html",
        b"\0",
    ];
    let mut random = Random(5);
    for _ in 0..6_000 {
        let mut data = Vec::new();
        for part in 0..4 {
            for _ in 0..random.next() % 14 {
                data.extend_from_slice(random.pick(&WORDS));
            }
            // Lines that are right, so that some of what follows is reached.
            if part == 0 && random.next().is_multiple_of(2) {
                data = b"/a\n  X-A: b\n".to_vec();
            }
            if part == 1 && random.next().is_multiple_of(2) {
                data.extend_from_slice(b"\n/:x/* /:splat/:x\n/old* /:splat 302\n");
            }
            data.push(0);
        }
        hostile::headers_redirects(&data);
    }
}
