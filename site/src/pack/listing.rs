//! Pages that list the contents of folders without an index.html, made on request.

use super::folder::SourceFile;
use super::head::percent_encode;
use crate::date::http_date;
use std::collections::{BTreeMap, BTreeSet};

/// What is in a folder, by name; folders end in a slash.
type Entries<'f> = BTreeMap<Vec<u8>, Option<&'f SourceFile>>;

/// Returns the folders that have files in them, with their lists.
pub(super) fn folders(files: &[SourceFile]) -> BTreeMap<Vec<u8>, Entries<'_>> {
    let mut folders: BTreeMap<Vec<u8>, Entries<'_>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for file in files {
        let mut path = file.path.as_slice();
        let mut entry = Some(file);
        while let Some(slash) = path[..path.len() - 1]
            .iter()
            .rposition(|byte| *byte == b'/')
        {
            let (dir, name) = path.split_at(slash + 1);
            folders
                .entry(dir.to_vec())
                .or_default()
                .insert(name.to_vec(), entry);
            if !seen.insert(dir.to_vec()) {
                break;
            }
            (path, entry) = (dir, None);
        }
    }
    folders
}

/// Writes the page that lists a folder.
pub(super) fn page(dir: &[u8], entries: &Entries<'_>, modified: Option<u64>) -> Vec<u8> {
    let title = escaped(dir);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>body{{font:1rem/1.5 system-ui,sans-serif;margin:2rem}}\
         td{{padding-right:2rem}}td+td{{text-align:right;color:#666}}</style>\n\
         <h1>{title}</h1>\n<table>\n"
    );
    if dir != b"/" {
        html.push_str("<tr><td><a href=\"../\">../</a><td><td>\n");
    }
    let (folders, files): (Vec<_>, Vec<_>) = entries.iter().partition(|(_, file)| file.is_none());
    for (name, file) in folders.into_iter().chain(files) {
        let link = String::from_utf8_lossy(&percent_encode(name)).into_owned();
        let (bytes, date) = match file {
            None => (String::new(), String::new()),
            Some(file) => {
                let date = http_date(modified.unwrap_or(file.modified));
                (
                    file.bytes.to_string(),
                    String::from_utf8_lossy(&date).into_owned(),
                )
            }
        };
        // A dot in front, so that a colon in the name starts no scheme.
        html.push_str(&format!(
            "<tr><td><a href=\"./{link}\">{}</a><td>{bytes}<td>{date}\n",
            escaped(name)
        ));
    }
    html.push_str("</table>\n");
    html.into_bytes()
}

fn escaped(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> SourceFile {
        SourceFile {
            path: path.as_bytes().to_vec(),
            stamp: Default::default(),
            file: path.into(),
            modified: 784_111_777,
            bytes: 7,
        }
    }

    #[test]
    fn every_folder_lists_its_files_and_folders_once() {
        let files = ["/a/b/c.txt", "/a/b/d.txt", "/a/e", "/f"].map(file);
        let folders = folders(&files);
        let names: Vec<Vec<String>> = folders
            .values()
            .map(|entries| {
                let names = entries.keys();
                names
                    .map(|name| String::from_utf8_lossy(name).into_owned())
                    .collect()
            })
            .collect();
        assert!(folders.keys().eq([&b"/"[..], b"/a/", b"/a/b/"]));
        assert_eq!(
            names,
            [vec!["a/", "f"], vec!["b/", "e"], vec!["c.txt", "d.txt"]]
        );
    }

    #[test]
    fn names_are_escaped_for_html_and_for_links() {
        let files = ["/<b>&\"x y"].map(file);
        let folders = folders(&files);
        let page = String::from_utf8(page(b"/", &folders[&b"/"[..]], None)).unwrap();
        let row = "<a href=\"./%3Cb%3E%26%22x%20y\">&lt;b&gt;&amp;&quot;x y</a><td>7<td>Sun, 06";
        assert!(page.contains(row), "{page}");
        assert!(!page.contains("../"));
    }
}
