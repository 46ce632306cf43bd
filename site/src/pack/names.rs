//! Names of hosts as the image holds them.

use super::PackError;
use crate::limits::MAX_NAME_BYTES;

/// Returns a name in lower case, `*.example.org` as `.example.org`.
pub(super) fn image_form(name: &str) -> Result<String, PackError> {
    let refuse = |problem| PackError::HostName {
        name: name.to_owned(),
        problem,
    };
    let bare = name.strip_prefix("*").unwrap_or(name);
    if bare.len() < name.len() && !bare.starts_with('.') {
        return Err(refuse("write the star as a whole label: *.example.org"));
    }
    let labels = bare.strip_prefix('.').unwrap_or(bare);
    if bare.starts_with('.') && bare.len() == name.len() {
        return Err(refuse("a name starts with a letter or digit: example.org"));
    }
    if labels.contains('*') {
        return Err(refuse("the star stands at the front only: *.example.org"));
    }
    if labels.contains(':') && !labels.starts_with('[') {
        return Err(refuse(
            "leave out the port: every port is answered for the name",
        ));
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let is_address = labels.starts_with('[') && labels.ends_with(']');
    if labels.is_empty() || bare.len() > MAX_NAME_BYTES {
        return Err(refuse("give a name of 1 to 255 letters: example.org"));
    }
    if !is_address && !labels.split('.').all(is_label) {
        return Err(refuse(
            "letters, digits and hyphens between single dots: example.org (other scripts as xn--…)",
        ));
    }
    Ok(bare.to_ascii_lowercase())
}
