//! Links in pages of HTML that lead to a path of the same site.
//!
//! Not a parser of HTML: tags and their attributes are found, comments, scripts and styles stepped
//! over. It is for warnings only.

/// Returns the paths that a page's links lead to, decoded and normal, each with the link as it is
/// written. `base` is the page's own path.
pub(super) fn internal_links(html: &str, base: &str) -> Vec<(String, String)> {
    let mut links = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = after(comment, "-->");
            continue;
        }
        let end = rest.find('>').unwrap_or(rest.len());
        let tag = &rest[1.min(end)..end];
        rest = &rest[end..];
        let name: String = tag
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect::<String>()
            .to_ascii_lowercase();
        match name.as_str() {
            // Links are then relative to something else.
            "base" => return Vec::new(),
            "script" | "style" => {
                let close = format!("</{name}");
                let lower = rest.to_ascii_lowercase();
                rest = &rest[lower.find(&close).unwrap_or(rest.len())..];
            }
            _ => {}
        }
        for attribute in ["href", "src", "poster"] {
            if let Some(link) = value(tag, attribute)
                && let Some(path) = path(&link, base)
            {
                links.push((path, link));
            }
        }
    }
    links
}

fn after<'t>(text: &'t str, end: &str) -> &'t str {
    text.find(end).map_or("", |at| &text[at + end.len()..])
}

/// Returns an attribute's value.
fn value(tag: &str, attribute: &str) -> Option<String> {
    let lower = tag.to_ascii_lowercase();
    let mut from = 0;
    let value = loop {
        let at = from + lower[from..].find(attribute)?;
        from = at + attribute.len();
        let is_name = lower[..at].ends_with(|before: char| before.is_ascii_whitespace());
        let behind = lower[from..].trim_start();
        if is_name && behind.starts_with('=') {
            let start = lower.len() - behind.len() + 1;
            break tag[start..].trim_start();
        }
    };
    let value = match value.chars().next()? {
        quote @ ('"' | '\'') => value[1..].split(quote).next()?,
        _ => value.split(|end: char| end.is_ascii_whitespace()).next()?,
    };
    Some(value.trim().replace("&amp;", "&"))
}

/// Returns the path that a link leads to on the same site.
fn path(link: &str, base: &str) -> Option<String> {
    let end = link.find(['?', '#']).unwrap_or(link.len());
    let target = &link[..end];
    let is_scheme = target
        .split('/')
        .next()
        .is_some_and(|first| first.contains(':'));
    // Braces are templates that something fills in later.
    if target.is_empty() || is_scheme || target.starts_with("//") || target.contains(['{', '\\']) {
        return None;
    }
    let folder = &base[..base.rfind('/').map_or(0, |slash| slash + 1)];
    let whole = match target.starts_with('/') {
        true => target.to_owned(),
        false => format!("{folder}{target}"),
    };
    let mut segments: Vec<&str> = Vec::new();
    let parts: Vec<&str> = whole.split('/').skip(1).collect();
    for (place, part) in parts.iter().enumerate() {
        let is_last = place + 1 == parts.len();
        match *part {
            ".." => {
                segments.pop();
            }
            "." | "" => {}
            part => segments.push(part),
        }
        if is_last && matches!(*part, "" | "." | "..") {
            segments.push("");
        }
    }
    let normal = format!("/{}", segments.join("/"));
    decoded(&normal)
}

fn decoded(path: &str) -> Option<String> {
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        out.push(match byte {
            b'%' => (digit(bytes.next())? << 4 | digit(bytes.next())?) as u8,
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(html: &str, base: &str) -> Vec<String> {
        let links = internal_links(html, base).into_iter();
        links.map(|(path, _)| path).collect()
    }

    #[test]
    fn links_of_every_form_become_paths() {
        let html = r#"<a href="/a">x</a> <A HREF='b.html#x'> <img alt="x" src=../c.png>
            <link rel=x href="./d%20e/?q"> <a href="/x/../y"> <video poster="/p.jpg" src="/v.mp4">
            <a href="/?a&amp;b"> <a href=".">"#;
        assert_eq!(
            paths(html, "/dir/page.html"),
            [
                "/a",
                "/dir/b.html",
                "/c.png",
                "/dir/d e/",
                "/y",
                "/v.mp4",
                "/p.jpg",
                "/",
                "/dir/"
            ]
        );
    }

    #[test]
    fn what_leads_elsewhere_or_is_no_link_is_left_out() {
        for html in [
            "<a href='https://example.org/'>",
            "<a href='//example.org/a'>",
            "<a href='mailto:a@example.org'>",
            "<a href='#top'>",
            "<a href=''>",
            "<a href='?page=2'>",
            "<img src='data:image/png;base64,AAAA'>",
            "<!-- <a href='/a'> -->",
            "<script>x = '<a href=\"/a\">'</script>",
            "<style>a { b: url('<a href=/x>') }</style>",
            "<a data-href='/a'>",
            "<a href='/{{ template }}'>",
            "<base href='/other/'><a href='a'>",
            "<a href='/%zz'>",
            "<a href",
            "<",
            "",
        ] {
            assert_eq!(paths(html, "/"), [""; 0], "{html}");
        }
    }
}
