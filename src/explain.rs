//! `weir explain DETECTION`: from its text to what runs: plan, operators, state and what is read. `weir explain alert UID`:
//! the evidence behind an alert.

mod alert;

use weir_detections::{Delivery, Detection};

use crate::check;
use crate::cli::{ExplainArgs, Globals};
use crate::compile;
use crate::config::{Config, Need};
use crate::exit::{CommandError, CommandResult, Outcome};
use crate::print::Format;
use crate::project::Project;
use crate::stdout;

/// Prints how a detection runs, or how an alert came about.
pub(crate) fn run(globals: &Globals, args: &ExplainArgs) -> CommandResult {
    match (args.what.as_str(), &args.uid) {
        ("alert", None) => Err(CommandError::usage(anyhow::anyhow!(
            "`weir explain alert` needs the id of an alert behind it: weir explain alert UID; \
             `weir hunt 'SELECT uid, title FROM alerts'` lists them"
        ))),
        (_, None) => detection(globals, &args.what),
        ("alert", Some(uid)) => alert::run(globals, uid),
        (what, Some(_)) => {
            let text =
                format!("`weir explain` takes a detection, or `alert UID`, and not `{what}` with more behind it");
            Err(CommandError::usage(anyhow::anyhow!(text)))
        }
    }
}

fn detection(globals: &Globals, wanted: &str) -> CommandResult {
    let (project, diagnostics) = Project::load(&globals.dir, Need::Texts);
    check::stop_on_errors(&project, diagnostics)?;
    let rules = compile::rules(&project, &project.detections);
    let is_meant = |id: &str, file: &str| id == wanted || file == wanted;
    let Some(at) = rules.detections.iter().position(|detection| is_meant(&detection.id, &detection.file)) else {
        // The file may be there and have a header that cannot be read.
        let in_file = rules.diagnostics.iter().filter(|found| found.file.as_deref() == Some(wanted));
        check::stop_on_errors(&project, in_file.cloned().collect())?;
        let ids = rules.detections.iter().map(|detection| &*detection.id);
        let hint = weir_engine::error::nearest(wanted, ids)
            .map_or_else(|| "; ids stand in the headers of `detections/`".to_owned(), |hint| format!("; {hint}"));
        return Err(CommandError::usage(anyhow::anyhow!("there is no detection `{}`{hint}", wanted)));
    };
    let detection = &rules.detections[at];
    let Some(explained) = rules.program.explain(at) else {
        let file = Some(detection.file.as_str());
        let found = rules.diagnostics.iter().filter(|found| found.file.as_deref() == file).cloned().collect();
        check::stop_on_errors(&project, found)?;
        return Err(CommandError::usage(anyhow::anyhow!("{} does not compile", detection.id)));
    };
    let delivery = delivery(detection, &project.config);
    // A text for people is the default, whether or not it is piped; a program asks for JSON.
    if globals.format == Some(Format::Json) {
        let whole = serde_json::json!({
            "id": &*detection.id,
            "title": detection.title,
            "file": detection.file,
            "delivery": detection.delivery.as_str(),
            "explained": explained.trim_end(),
        });
        stdout::print(&whole.to_string())?;
        return Ok(Outcome::Done);
    }
    let (id, title, file) = (&detection.id, &detection.title, &detection.file);
    stdout::print(&format!("{id}: {title}\n{file}\n\n{}{delivery}", explained.trim_end()))?;
    Ok(Outcome::Done)
}

/// How alerts leave, where that is not as usual.
fn delivery(detection: &Detection, config: &Config) -> String {
    let topic = config.fast_topic.as_deref().filter(|_| detection.delivery == Delivery::Fast);
    let said = topic.map(|topic| {
        let alerts = &config.alerts_topic;
        format!(
            "\n\nDelivery: fast. In `weir run` a copy of each alert record goes to `{topic}` at once, at least once; {alerts} \
             has the record itself, once, with its epoch"
        )
    });
    said.unwrap_or_default()
}
