//! What a pack came to, in words.

use crate::console::complain;
use crate::pack::PackedSite;
use site::pack::{Summary, Warning};
use std::fmt::Write;

/// Warnings of one kind that are shown before the rest is only counted.
const SHOWN_OF_A_KIND: usize = 5;

/// Says what was packed: a line for the whole, one for each coding, and the slowest files if any
/// took long.
pub fn describe(packed: &PackedSite) -> String {
    let summary = &packed.summary;
    let mut text = format!(
        "packed {} files, {} bytes, into {} ({} bytes)\n",
        summary.files,
        summary.content_bytes,
        packed.file.display(),
        summary.image_bytes
    );
    let mut line = |words: String| {
        text.push_str("  ");
        text.push_str(&words);
        text.push('\n');
    };
    let mut counts = format!("{} pages", summary.pages);
    for (count, name) in [
        (summary.rules, "rules"),
        (summary.hosts.saturating_sub(1), "more hosts"),
        (summary.hidden_names, "hidden names left out"),
    ] {
        if count > 0 {
            // Writing to a string does not fail.
            let _ = write!(counts, ", {count} {name}");
        }
    }
    line(counts);
    for (coding, name) in summary.codings.iter().zip(["gzip", "br", "zstd"]) {
        let saved = coding.content_bytes - coding.coded_bytes.min(coding.content_bytes);
        if let Some(percent) = (100 * saved).checked_div(coding.content_bytes) {
            line(format!(
                "{name}: {} files, {} bytes instead of {} ({percent} % saved)",
                coding.files, coding.coded_bytes, coding.content_bytes
            ));
        }
    }
    for (file, took) in &summary.slowest {
        if took.as_millis() >= 500 {
            line(format!(
                "slow: {} ({} ms)",
                file.display(),
                took.as_millis()
            ));
        }
    }
    text
}

/// Shows warnings on stderr: all of them, or a few of each kind.
pub fn show_warnings(summary: &Summary, shows_all: bool) {
    for line in warning_lines(&summary.warnings, shows_all) {
        complain(&line);
    }
}

fn warning_lines(warnings: &[Warning], shows_all: bool) -> Vec<String> {
    let mut lines = Vec::new();
    // They are sorted by kind.
    for same in warnings.chunk_by(|a, b| a.kind() == b.kind()) {
        let shown = match shows_all {
            true => same.len(),
            false => same.len().min(SHOWN_OF_A_KIND),
        };
        lines.extend(
            same[..shown]
                .iter()
                .map(|warning| format!("warning: {warning}")),
        );
        if shown < same.len() {
            lines.push(format!(
                "warning: {} more {}: --verbose shows them",
                same.len() - shown,
                same[0].kind()
            ));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_warnings_of_each_kind_are_shown_and_the_rest_counted() {
        let unknown = |name: usize| Warning::UnknownType {
            file: format!("{name}").into(),
        };
        let mut warnings: Vec<Warning> = (0..8).map(unknown).collect();
        warnings.push(Warning::NoFrontPage { dir: "d".into() });
        let lines = warning_lines(&warnings, false);
        assert_eq!(lines.len(), 7);
        assert_eq!(
            lines[5],
            "warning: 3 more files of unknown type: --verbose shows them"
        );
        assert!(lines[6].contains("no index.html"));
        assert_eq!(warning_lines(&warnings, true).len(), 9);
    }
}
