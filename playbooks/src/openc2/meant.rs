//! Words of other systems for what OpenC2 calls otherwise, for hints about words that it does not have.

use crate::problem::{meant, nearest};

/// What others call an action, and its word here. The last are Weir's own.
const ACTIONS: [(&str, &str); 17] = [
    ("isolate", "contain"),
    ("quarantine", "contain"),
    ("block", "deny"),
    ("ban", "deny"),
    ("unblock", "allow"),
    ("release", "allow"),
    ("unisolate", "allow"),
    ("permit", "allow"),
    ("kill", "stop"),
    ("terminate", "stop"),
    ("reboot", "restart"),
    ("remove", "delete"),
    ("find", "locate"),
    ("search", "query"),
    ("message", "notify"),
    ("email", "notify"),
    ("approve", "ask"),
];

/// What others call a kind of target, and its word here.
const TARGETS: [(&str, &str); 15] = [
    ("domain", "domain_name"),
    ("fqdn", "domain_name"),
    ("host", "device"),
    ("hostname", "device"),
    ("machine", "device"),
    ("endpoint", "device"),
    ("ip", "ipv4_net"),
    ("ipv4", "ipv4_net"),
    ("ipv6", "ipv6_net"),
    ("user", "account"),
    ("username", "account"),
    ("email", "email_addr"),
    ("mail", "email_addr"),
    ("mac", "mac_addr"),
    ("hash", "file"),
];

/// The action among `known` that a word was probably meant to be.
pub(crate) fn action_meant<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    of_meaning(word, &ACTIONS).or_else(|| meant(word, known))
}

/// The action among `known` that a word was probably meant to be, as a hint; all of them where few exist.
pub(crate) fn nearest_action<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    of_meaning(word, &ACTIONS).map(did_you_mean).or_else(|| nearest(word, known))
}

/// The kind of target among `known` that a word was probably meant to be, as a hint; all of them where few exist.
pub(crate) fn nearest_target<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    of_meaning(word, &TARGETS).map(did_you_mean).or_else(|| nearest(word, known))
}

fn of_meaning(word: &str, others: &[(&str, &'static str)]) -> Option<&'static str> {
    others.iter().find(|(other, _)| other.eq_ignore_ascii_case(word)).map(|(_, word)| *word)
}

fn did_you_mean(word: &str) -> String {
    format!("did you mean `{word}`?")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openc2::{Action, TargetKind};

    #[test]
    fn every_other_word_means_one_that_exists_and_is_none_itself() {
        let own = ["notify", "ask"];
        for (other, word) in ACTIONS {
            assert!(own.contains(&word) || Action::of_word(word).is_some(), "{word}");
            assert!(!own.contains(&other) && Action::of_word(other).is_none(), "{other}");
        }
        for (other, word) in TARGETS {
            assert!(TargetKind::of_word(word).is_some() && TargetKind::of_word(other).is_none(), "{other} {word}");
        }
    }
}
