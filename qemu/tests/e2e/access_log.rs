//! The access log on the serial line.

use crate::folder::Folder;
use crate::guest::{self, Appliance};
use std::time::{Duration, Instant};

const REQUESTS: usize = 60;

/// Boots with these words, asks for pages by number, and returns the log's lines once `count` came,
/// and a moment later.
fn lines_of(append: &str, count: usize) -> Vec<String> {
    let packed = guest::packed(Folder::small().path());
    let mut machine = guest::machine(&packed);
    machine.append = append.to_owned();
    let appliance = guest::boot(machine);
    let mut client = appliance.client();
    for number in 0..REQUESTS {
        let request = format!(
            "GET /n/{number}?q=\"{number}\" HTTP/1.1\r\nHost: a\r\nReferer: http://from/\r\n\
             User-Agent: probe\\{number}\r\n\r\n"
        );
        client.send(request.as_bytes()).unwrap();
        let answer = client.answer().unwrap();
        assert_eq!(answer.status, 404);
    }
    // What this brings stands behind everything before it.
    client
        .send(b"HEAD /style.css HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert_eq!(client.head().unwrap().status, 200);
    wait_for(&appliance, count)
}

/// Waits until there are so many lines of the log.
fn wait_for(appliance: &Appliance, count: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let (lines, end) = appliance.serial().lines_from(0);
        let is_own = |line: &String| line.contains(" HTTP/1.1");
        let own: Vec<String> = lines.into_iter().filter(is_own).collect();
        if own.len() >= count {
            return own;
        }
        assert!(Instant::now() < deadline, "{count} lines: {own:#?}");
        appliance.serial().wait_line(end, deadline);
    }
}

#[test]
fn a_combined_line_tells_of_each_answer_and_nothing_of_a_client_breaks_its_form() {
    let _turn = guest::turn();
    let lines = lines_of("access-log=combined", REQUESTS + 1);
    for (number, line) in lines[..REQUESTS].iter().enumerate() {
        let (peer, rest) = line.split_once(" - - [").expect("a peer");
        // This machine, seen through user networking.
        assert_eq!(peer, "10.0.2.2");
        let (date, rest) = rest.split_once("] ").expect("a date");
        let form: String = date
            .chars()
            .map(|c| match c {
                '0'..='9' => '0',
                'a'..='z' | 'A'..='Z' => 'a',
                other => other,
            })
            .collect();
        assert_eq!(form, "00/aaa/0000:00:00:00 +0000");
        let expected = format!(
            "\"GET /n/{number}?q=\\x22{number}\\x22 HTTP/1.1\" 404 {} \"http://from/\" \
             \"probe\\x5C{number}\"",
            not_found_bytes(&lines)
        );
        assert_eq!(rest, expected);
    }
    let last = &lines[REQUESTS];
    assert!(
        last.ends_with("\"HEAD /style.css HTTP/1.1\" 200 0 \"-\" \"-\""),
        "{last}"
    );
}

/// Returns the length of the body of "not found" as the first line has it.
fn not_found_bytes(lines: &[String]) -> u64 {
    let (_, rest) = lines[0].split_once("\" 404 ").expect("a status");
    let bytes = rest.split(' ').next().unwrap().parse().unwrap();
    assert!(bytes > 0);
    bytes
}

#[test]
fn a_sample_has_a_line_for_one_answer_of_so_many() {
    let _turn = guest::turn();
    // The last request's is the 61st.
    let lines = lines_of("access-log=json access-log-sample=5", REQUESTS / 5 + 1);
    let numbers: Vec<usize> = lines[..REQUESTS / 5]
        .iter()
        .map(|line| {
            let json: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(json["status"], 404);
            let request = json["request"].as_str().unwrap();
            let (_, rest) = request.split_once("/n/").unwrap();
            rest.split('?').next().unwrap().parse().unwrap()
        })
        .collect();
    let expected: Vec<usize> = (0..REQUESTS).step_by(5).collect();
    assert_eq!(numbers, expected);
    assert_eq!(lines.len(), REQUESTS / 5 + 1, "{lines:#?}");
}
