//! What each command line means, and how wrong ones are refused.

use super::*;
use site::pack::Compression;

fn run(words: &[&str]) -> RunOptions {
    match parse(words) {
        Ok(Command::Run(options)) => options,
        other => panic!("{words:?}: {other:?}"),
    }
}

#[test]
fn no_words_serve_the_default_site() {
    assert_eq!(run(&[]), RunOptions::default());
    assert_eq!(run(&["run"]), RunOptions::default());
}

#[test]
fn a_word_that_is_no_command_is_the_folder() {
    assert_eq!(run(&["site/"]).site, Some("site/".into()));
    assert_eq!(run(&["run", "build"]).site, Some("build".into()));
    assert_eq!(run(&["--port", "0", "site/"]).site, Some("site/".into()));
}

#[test]
fn every_flag_is_understood_before_and_behind_the_folder() {
    let flags = "--port 0 --bind 127.0.0.2 --cores 2 --memory 64 --accel tcg --machine q35 \
                 --append log=debug --dry-run --timeout 5 --verbose";
    let expected = RunOptions {
        site: Some("d".into()),
        port: Some(0),
        bind: Some(Ipv4Addr::new(127, 0, 0, 2)),
        cores: 2,
        memory_mib: Some(64),
        accel: AccelChoice::Tcg,
        machine: MachineKind::Q35,
        append: "log=debug".to_owned(),
        is_dry_run: true,
        timeout: Duration::from_secs(5),
        is_verbose: true,
        ..RunOptions::default()
    };
    let flags: Vec<&str> = flags.split_whitespace().collect();
    assert_eq!(run(&[&flags[..], &["d"]].concat()), expected);
    assert_eq!(run(&[&["run", "d"], &flags[..]].concat()), expected);
}

#[test]
fn an_example_has_a_name_and_the_flags_of_run() {
    let parsed = parse(["example", "ping-pong", "--cores", "2", "--port", "0"]);
    let expected = Command::Example {
        name: "ping-pong".to_owned(),
        options: RunOptions {
            cores: 2,
            port: Some(0),
            ..RunOptions::default()
        },
    };
    assert_eq!(parsed, Ok(expected));
    assert!(parse(["example"]).unwrap_err().contains("needs a name"));
    let error = parse(["example", "a", "b"]).unwrap_err();
    assert!(error.starts_with("one word too many: b"), "{error}");
    let error = parse(["example", "a", "--queues", "2"]).unwrap_err();
    assert!(error.contains("--net tap"), "{error}");
}

#[test]
fn a_capture_needs_a_file() {
    let options = run(&["--pcap", "a.pcap"]);
    assert_eq!(options.pcap, Some("a.pcap".into()));
    let error = parse(["--pcap"]).unwrap_err();
    assert!(error.contains("'--pcap'"), "{error}");
}

#[test]
fn a_tap_takes_queues_and_no_port() {
    let options = run(&["--net", "tap=tap0", "--queues", "2"]);
    assert_eq!(options.net, NetChoice::Tap("tap0".to_owned()));
    assert_eq!(options.queues, Some(2));
    let error = parse(["--net", "tap=tap0", "--port", "80"]).unwrap_err();
    assert!(error.contains("--net user"), "{error}");
    let error = parse(["--queues", "2"]).unwrap_err();
    assert!(error.contains("--net tap"), "{error}");
    let error = parse(["--rss"]).unwrap_err();
    assert!(error.contains("--net tap"), "{error}");
    assert!(run(&["--net", "tap=tap0", "--rss"]).has_rss);
}

#[test]
fn the_other_commands_take_their_words_and_no_more() {
    assert_eq!(parse(["build"]), Ok(Command::Build));
    assert_eq!(parse(["check"]), Ok(Command::Check));
    assert_eq!(parse(["test"]), Ok(Command::Test { filter: None }));
    let filter = Some("boot".to_owned());
    assert_eq!(parse(["test", "boot"]), Ok(Command::Test { filter }));
    let pack = Command::Pack {
        site: "d".into(),
        output: "f".into(),
        options: PackOptions::default(),
        is_verbose: false,
    };
    assert_eq!(parse(["pack", "d", "-o", "f"]), Ok(pack));
    assert_eq!(
        parse(["bench", "quick", "--x"]),
        Ok(Command::Bench(vec!["quick".into(), "--x".into()]))
    );
    for words in [
        &["build", "x"][..],
        &["check", "-x"],
        &["test", "a", "b"],
        &["pack", "d"],
        &["pack", "-o", "f"],
        &["pack", "d", "-o", "f", "--port", "80"],
        &["inspect"],
        &["inspect", "a", "b"],
    ] {
        assert!(parse(words).is_err(), "{words:?}");
    }
}

#[test]
fn wrong_use_is_one_line_that_says_what_to_do() {
    for (words, expected) in [
        (
            &["--prot", "80"][..],
            "unknown flag --prot; see ./run.sh --help",
        ),
        (&["a", "b"], "one word too many: b; see ./run.sh --help"),
        (&["--port"], "--port needs a value; see ./run.sh --help"),
        (
            &["--port", "65536"],
            "--port 65536: give a number from 0 to 65535",
        ),
        (
            &["--port", "http"],
            "--port http: give a number from 0 to 65535",
        ),
        (&["--cores", "0"], "--cores 0: give a number from 1 to 32"),
        (&["--cores", "33"], "--cores 33: give a number from 1 to 32"),
        (&["--accel", "hvf"], "--accel hvf: give auto, kvm or tcg"),
        (&["--machine", "pc"], "--machine pc: give microvm or q35"),
        (&["--net", "tap="], "--net tap=: give user, or tap=IFNAME"),
        (
            &["--net", "tap=a,script=x"],
            "--net tap=a,script=x: give user, or tap=IFNAME",
        ),
        (
            &["--net", "bridge"],
            "--net bridge: give user, or tap=IFNAME",
        ),
    ] {
        assert_eq!(parse(words), Err(expected.to_owned()));
    }
    let error = parse(["--bind", "localhost"]).unwrap_err();
    assert!(error.contains("IPv4") && !error.contains('\n'), "{error}");
    let error = parse(["--verbose=yes"]).unwrap_err();
    assert!(
        error.contains("verbose") && !error.contains('\n'),
        "{error}"
    );
}

/// Returns the words that the parser itself tells apart: what stands at the start of its arms between
/// `before` and `behind`.
fn arms(sources: &[&'static str], before: &str, behind: &str) -> Vec<&'static str> {
    let lines = sources.iter().flat_map(|source| source.lines());
    lines
        .filter_map(|line| Some(line.trim().strip_prefix(before)?.split_once(behind)?.0))
        .collect()
}

#[test]
fn help_and_documents_name_every_flag_and_command_that_is_understood() {
    assert_eq!(parse(["--help"]), Ok(Command::Help));
    assert_eq!(parse(["-h"]), Ok(Command::Help));
    let sources = [
        include_str!("options.rs"),
        include_str!("run_flags.rs"),
        include_str!("pack_flags.rs"),
    ];
    let readme = concat!(
        include_str!("../../README.md"),
        include_str!("../../docs/packing.md")
    );
    let flags = arms(&sources, "\"--", "\" =>");
    let commands = arms(&sources, "Some(\"", "\") =>");
    assert!(
        flags.contains(&"port") && flags.contains(&"cors"),
        "{flags:?}"
    );
    assert!(flags.len() > 20, "{flags:?}");
    assert!(
        commands.contains(&"run") && commands.contains(&"gdb"),
        "{commands:?}"
    );
    for flag in flags {
        assert!(USAGE.contains(&format!("  --{flag} ")), "help: --{flag}");
        assert!(
            readme.contains(&format!("| `--{flag}")),
            "documents: --{flag}"
        );
    }
    for command in commands.iter().filter(|command| **command != "help") {
        let named = [
            format!("./run.sh {command} "),
            format!("./run.sh [{command}] "),
        ];
        assert!(
            named.iter().any(|line| USAGE.contains(line)),
            "help: {command}"
        );
        let told = [
            format!("`{command}"),
            format!("./run.sh {command}"),
            format!("[{command}]"),
        ];
        assert!(
            told.iter().any(|words| readme.contains(words)),
            "documents: {command}"
        );
    }
}

#[test]
fn the_flags_of_packing_are_understood_by_pack_and_by_run() {
    let flags = "--host a.example=x --host *.b.example=y --compress off --no-clean-urls --listing \
                 --hidden --security-headers --cors https://c.example --last-modified 5";
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let expected = PackOptions {
        last_modified: Some(5),
        hosts: vec![
            ("a.example".to_owned(), "x".into()),
            ("*.b.example".to_owned(), "y".into()),
        ],
        compression: Compression::Off,
        cache_dir: None,
        has_clean_urls: false,
        has_listing: true,
        has_hidden: true,
        has_security_headers: true,
        cors: Some("https://c.example".to_owned()),
    };
    assert_eq!(run(&[&flags[..], &["--watch"]].concat()).pack, expected);
    assert!(run(&["--watch"]).is_watching);
    match parse([&["pack", "-o", "f", "--verbose"], &flags[..]].concat()) {
        Ok(Command::Pack {
            site,
            options,
            is_verbose: true,
            ..
        }) => {
            assert_eq!(site, PathBuf::from("x"), "the first host's");
            assert_eq!(options, expected);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(run(&[]).pack.compression, Compression::Fast);
}

#[test]
fn wrong_values_of_packing_flags_are_refused_with_what_to_give() {
    for (words, expected) in [
        (["--host", "a.example"], "--host a.example: give NAME=DIR"),
        (["--host", "=d"], "--host =d: give NAME=DIR"),
        (
            ["--compress", "max"],
            "--compress max: give off, fast or best",
        ),
        (
            ["--cors", "example.org"],
            "--cors example.org: give an origin such as https://example.org, or *",
        ),
        (
            ["--cors", "https://a.example/x"],
            "--cors https://a.example/x: give an origin such as https://example.org, or *",
        ),
        (
            ["--last-modified", "now"],
            "--last-modified now: give a number from 0 to 253402300799",
        ),
    ] {
        assert_eq!(parse(words), Err(expected.to_owned()));
    }
}

#[test]
fn help_is_for_every_command_and_flags_of_one_are_not_for_another() {
    for words in [
        &["run", "--help"][..],
        &["pack", "d", "-h"],
        &["example", "--help"],
        &["bench", "-h"],
    ] {
        assert_eq!(parse(words), Ok(Command::Help), "{words:?}");
    }
    for (words, part) in [
        (&["example", "seats", "--watch"][..], "--watch: an example"),
        (&["example", "seats", "--listing"], "flags of packing"),
        (&["example", "seats", "--admin-port", "0"], "--admin-port"),
        (&["gdb", "--watch"], "--watch: it goes with run"),
        (&["--watch", "--pcap", "f"], "--pcap, --watch"),
        (
            &["--net", "tap=tap0", "--admin-port", "0"],
            "--admin-port: it goes with --net user",
        ),
    ] {
        let error = parse(words).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn words_for_the_kernel_add_up() {
    let options = run(&["--append", "log=debug", "--append", " stats=1"]);
    assert_eq!(options.append, "log=debug  stats=1");
}

#[test]
fn a_hosts_folder_may_have_a_name_of_any_bytes() {
    use std::os::unix::ffi::OsStringExt;
    let word = OsString::from_vec(b"a.example=d\xff=e".to_vec());
    let Ok(Command::Run(options)) = parse([OsString::from("--host"), word]) else {
        panic!("refused");
    };
    let dir = PathBuf::from(OsString::from_vec(b"d\xff=e".to_vec()));
    assert_eq!(options.pack.hosts, [("a.example".to_owned(), dir)]);
}
