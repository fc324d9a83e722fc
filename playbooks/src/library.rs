//! The shipped content, inside the binary: playbooks and responders.

use include_dir::{Dir, include_dir};

static PLAYBOOKS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/library");
static RESPONDERS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/responders");

/// One shipped file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShippedFile {
    /// Where it belongs in a project folder, with `/`: `playbooks/..` or `responders/..`.
    pub path: String,
    /// Its content.
    pub text: &'static str,
}

/// Every shipped file, sorted by path.
#[must_use]
pub fn files() -> Vec<ShippedFile> {
    let mut files = Vec::new();
    for (dir, root) in [(&PLAYBOOKS, "playbooks"), (&RESPONDERS, "responders")] {
        for file in dir.files() {
            // Content is text; a test says so for every file that is shipped.
            if let Some(text) = file.contents_utf8() {
                files.push(ShippedFile { path: format!("{root}/{}", file.path().display()), text });
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::playbook::{Outside, Playbook, Responders, Step, What};
    use crate::responder::Responder;

    fn responders() -> Responders {
        let files = files().into_iter().filter(|file| file.path.starts_with("responders/"));
        let parse =
            |file: ShippedFile| Responder::parse(file.text).unwrap_or_else(|all| panic!("{}: {all:?}", file.path));
        files.map(parse).map(|responder| (responder.id.clone(), responder)).collect()
    }

    fn playbooks() -> Vec<Playbook> {
        let files = files().into_iter().filter(|file| file.path.starts_with("playbooks/"));
        files.map(|file| Playbook::parse(file.text).unwrap_or_else(|all| panic!("{}: {all:?}", file.path))).collect()
    }

    #[test]
    fn every_shipped_file_is_read_and_named_after_what_it_is() {
        let shipped: Vec<String> = files().into_iter().map(|file| file.path).collect();
        let mut expected: Vec<String> = playbooks().iter().map(|one| format!("playbooks/{}.yaml", one.id)).collect();
        expected.extend(responders().keys().map(|id| format!("responders/{id}.yaml")));
        expected.sort();
        assert_eq!(shipped, expected);
    }

    #[test]
    fn every_shipped_playbook_finds_its_responders() {
        let outside = Outside { responders: &responders(), unread: &BTreeMap::new(), tables: &[] };
        for playbook in playbooks() {
            assert_eq!(playbook.link(&outside), [], "{}", playbook.id);
        }
    }

    #[test]
    fn every_shipped_file_says_what_it_is_for() {
        for file in files() {
            assert!(file.text.starts_with("# "), "{} begins with a comment", file.path);
        }
        assert!(playbooks().iter().all(|one| !one.description.is_empty()));
        assert!(responders().values().all(|one| !one.description.is_empty()));
    }

    #[test]
    fn endpoint_is_never_isolated_without_a_question() {
        for playbook in playbooks() {
            let mut asked = false;
            for Step { what, id, .. } in &playbook.steps.steps {
                asked |= matches!(what, What::Ask { .. });
                let isolates = matches!(what, What::Act { action: crate::openc2::Action::Contain, .. });
                assert!(asked || !isolates, "{}: {id}", playbook.id);
            }
        }
    }
}
