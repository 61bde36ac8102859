//! As much of a URL, right or wrong, as cannot have a password in it.
//!
//! Shown are the scheme and what follows the last `@`, without parameters; of ports only digits.
//! Where a `?` or `#` comes before an `@`, a password may be on either side of both. In a URL whose
//! author forgot the host, the password stands where a port would be.

/// Any text, with `…` for what may be secret.
pub(super) fn shown(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return "…".to_owned();
    };
    let is_scheme = scheme
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'+');
    if !is_scheme {
        return "…".to_owned();
    }
    let (rest, cut) = match rest.find(['?', '#']) {
        Some(end) if rest[end..].contains('@') => return format!("{scheme}://…"),
        Some(end) => (&rest[..end], "?…"),
        None => (rest, ""),
    };
    let (user, rest) = match rest.rsplit_once('@') {
        Some((_, rest)) => ("…@", rest),
        None => ("", rest),
    };
    let (hosts, path) = match rest.split_once('/') {
        Some((hosts, path)) => (hosts, Some(path)),
        None => (rest, None),
    };
    let mut shown = Vec::new();
    for text in hosts.split(',') {
        match host(text) {
            Ok(()) => shown.push(text.to_owned()),
            Err(name) => {
                shown.push(format!("{name}…"));
                return format!("{scheme}://{user}{}", shown.join(","));
            }
        }
    }
    let path = path.map(|path| format!("/{path}")).unwrap_or_default();
    format!("{scheme}://{user}{}{path}{cut}", shown.join(","))
}

/// Whether it is an address by its form, or else how much of it can be shown.
fn host(text: &str) -> Result<(), String> {
    let (name, port) = match text.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((v6, port)) if is_made_of(v6, |byte| byte.is_ascii_hexdigit() || byte == b':') => {
            (&text[..v6.len() + 2], port)
        }
        Some(_) => return Err(String::new()),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.[]:".contains(&byte);
    if !is_made_of(name, is_name) {
        return Err(String::new());
    }
    match port.strip_prefix(':').unwrap_or(port) {
        "" if port.is_empty() => Ok(()),
        "" => Err(format!("{name}:")),
        digits if is_made_of(digits, |byte| byte.is_ascii_digit()) => Ok(()),
        _ => Err(format!("{name}:")),
    }
}

fn is_made_of(text: &str, is_part: impl Fn(u8) -> bool) -> bool {
    text.bytes().all(is_part)
}
