//! Domain names, compared label by label and without case.

use std::net::IpAddr;

/// The end of a domain name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suffix(String);

impl Suffix {
    /// A suffix is a domain itself; one leading dot or `*.` says nothing more, so both are accepted.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("*.").or_else(|| text.strip_prefix('.')).unwrap_or(text);
        normal(text).map(Self)
    }

    /// Whether a domain is this one or below it; `None` for what is no domain.
    pub(super) fn holds(&self, domain: &str) -> Option<bool> {
        let domain = normal(domain)?;
        let above = domain.strip_suffix(self.0.as_str());
        Some(above.is_some_and(|above| above.is_empty() || above.ends_with('.')))
    }
}

/// The registered part of a domain (`evil.co.uk` of `a.b.evil.co.uk`), in lower case; `None` for addresses, for what is
/// no domain and for public suffixes themselves. Private suffixes count: `someone.github.io` is registered by someone.
///
/// Source: the public suffix list; a top-level domain that it does not know is a suffix of one label.
pub(super) fn registered(domain: &str) -> Option<String> {
    let domain = normal(domain)?;
    if domain.parse::<IpAddr>().is_ok() || domain.contains([':', '/', '@']) {
        return None;
    }
    psl::domain_str(&domain).map(str::to_owned)
}

/// Lower case, without the dot of the root; `None` for a name with an empty label or white space in it.
fn normal(domain: &str) -> Option<String> {
    let domain = domain.trim();
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let is_odd = domain.split('.').any(str::is_empty) || domain.contains(char::is_whitespace);
    (!is_odd).then(|| domain.to_lowercase())
}
