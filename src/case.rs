//! `weir case` and `weir approve`: what people do about cases and the questions of playbooks, at the journal.

use std::io::Write as _;

use anyhow::anyhow;
use chrono::{SecondsFormat, Utc};
use weir_engine::error::counted;
use weir_playbooks::case::{Case, CaseStatus, Verdict};
use weir_playbooks::facts::Moment;
use weir_playbooks::journal::{ApprovalFilter, CaseFilter, Journal, Memory};

use crate::cli::{ApproveArgs, CaseCloseArgs, CaseCommand, CaseListArgs, Globals};
use crate::config::{self, Need};
use crate::exit::{Blame, CommandError, CommandResult, Outcome};
use crate::print::{Format, Rows, one_line};
use crate::project::Project;
use crate::respond::Role;
use crate::respond::desk::{self, CaseView};
use crate::stdout::{self, Stdout};
use crate::{check, compile, service};

/// Answers `weir case`.
pub(crate) fn run(globals: &Globals, command: &CaseCommand) -> CommandResult {
    let project = project(globals)?;
    let mut journal = journal(&project)?;
    let journal = journal.as_mut();
    let now = Utc::now();
    match command {
        CaseCommand::List(args) => list(journal, args, globals.format),
        CaseCommand::Show(args) => {
            let view = desk::show_case(journal, &args.id).usage()?;
            show(&view, Format::or_default(globals.format))
        }
        CaseCommand::Assign(args) => {
            let case = desk::assign_case(journal, &args.id, &args.to, &by(args.by.as_deref())?, now).usage()?;
            said(&format!("{} is {}'s", case.id, args.to))
        }
        CaseCommand::Reopen(args) => {
            let case = desk::reopen_case(journal, &args.id, &args.why, &by(args.by.as_deref())?, now).usage()?;
            said(&format!("{} is open again", case.id))
        }
        CaseCommand::Close(args) => close(&project, args),
        CaseCommand::Audit => {
            let entries = desk::verify_audit(journal).outside()?;
            let noun = if entries == 1 { "entry" } else { "entries" };
            said(&format!("the audit trail is whole: {entries} {noun}"))
        }
    }
}

/// Answers `weir approve`.
pub(crate) fn approve(globals: &Globals, args: &ApproveArgs) -> CommandResult {
    let project = project(globals)?;
    let mut journal = journal(&project)?;
    let Some(run) = args.run.as_deref().filter(|run| *run != "list") else {
        return questions(journal.as_mut(), globals.format);
    };
    let by = by(args.by.as_deref())?;
    let question = desk::decide(journal.as_mut(), run, args.step.as_deref(), !args.deny, &by, Utc::now()).usage()?;
    said(&format!("{by} said {} to: {}", if args.deny { "no" } else { "yes" }, question.question))
}

/// The folder of the journal; a project that has mistakes elsewhere still has cases.
fn project(globals: &Globals) -> Result<Project, CommandError> {
    let (project, mut diagnostics) = Project::load(&globals.dir, Need::Texts);
    diagnostics.retain(|diagnostic| diagnostic.code.starts_with('C'));
    check::stop_on_errors(&project, diagnostics)?;
    Ok(project)
}

/// The journal of a project, or an empty one where none was begun: who only looks at it does not begin it.
fn journal(project: &Project) -> Result<Box<dyn Journal>, CommandError> {
    if project.config.state.journal.exists() {
        Ok(Box::new(service::journal(&project.config)?))
    } else {
        Ok(Box::new(Memory::default()))
    }
}

/// Who is at the keyboard, for the audit trail.
fn by(named: Option<&str>) -> Result<String, CommandError> {
    let said = [named.map(str::to_owned), config::variable("USER"), config::variable("LOGNAME")];
    let name = said.into_iter().flatten().find(|name| !name.trim().is_empty()).or_else(account);
    name.ok_or_else(|| CommandError::usage(anyhow!("say who you are with --by NAME; the audit trail keeps it")))
}

/// The name of the account that this process runs under: in a container no variable says it.
fn account() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?;
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1) == Some(uid)).then(|| name.to_owned())
    })
}

fn said(text: &str) -> CommandResult {
    stdout::print(text)?;
    Ok(Outcome::Done)
}

fn list(journal: &mut dyn Journal, args: &CaseListArgs, format: Option<Format>) -> CommandResult {
    let status = args.status.as_deref().map(status).transpose()?;
    let filter = CaseFilter { status, unclosed: !args.all && status.is_none(), ..CaseFilter::default() };
    let cases = journal.cases(&filter).outside()?;
    let mut rows = Rows::new(&["id", "status", "severity", "assignee", "alerts", "updated", "title"]);
    for case in cases {
        rows.push(vec![
            case.id.into(),
            case.status.as_str().into(),
            case.severity.as_str().into(),
            case.assignee.into(),
            case.alerts.len().into(),
            time(case.updated).into(),
            case.title.into(),
        ]);
    }
    let nothing = match status {
        Some(status) => format!("no case is {status}"),
        None if args.all => "there is no case".to_owned(),
        None => "no case is open; --all shows those that are closed".to_owned(),
    };
    rows.print_or_say(format, &nothing)?;
    Ok(Outcome::Done)
}

fn status(word: &str) -> Result<CaseStatus, CommandError> {
    let words = CaseStatus::ALL.iter().map(|status| status.as_str()).collect::<Vec<_>>();
    CaseStatus::of_word(word)
        .ok_or_else(|| CommandError::usage(anyhow!("`{word}` is no status; they are {}", words.join(", "))))
}

fn questions(journal: &mut dyn Journal, format: Option<Format>) -> CommandResult {
    let open = journal.approvals(&ApprovalFilter { run: None, open: true }).outside()?;
    let mut rows = Rows::new(&["run", "step", "playbook", "case", "asked", "expires", "question"]);
    for question in open {
        rows.push(vec![
            question.run.into(),
            question.step.into(),
            question.playbook.into(),
            question.case.into(),
            time(question.asked).into(),
            time(question.expires).into(),
            question.question.into(),
        ]);
    }
    rows.print_or_say(format, "no playbook asks anything")?;
    Ok(Outcome::Done)
}

fn time(moment: Moment) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn show(view: &CaseView, format: Format) -> CommandResult {
    if format != Format::Table {
        return said(&serde_json::to_string(view).usage()?);
    }
    let mut out = Stdout::lock();
    write_case(&mut out, &view.case)?;
    for run in &view.runs {
        writeln!(out, "run       {}  {} ({}): {}", run.id, run.playbook, run.mode.as_str(), run.status)?;
    }
    for question in &view.questions {
        writeln!(out, "asks      {}  (weir approve {})", question.question, question.run)?;
    }
    writeln!(out, "\naudit trail")?;
    for note in view.audit.iter().map(|entry| &entry.note) {
        let text = one_line(&note.text);
        writeln!(out, "  {}  {:12}  {:18}  {text}", time(note.at), one_line(&note.actor), note.what)?;
    }
    out.finish()?;
    Ok(Outcome::Done)
}

fn write_case(out: &mut Stdout, case: &Case) -> std::io::Result<()> {
    writeln!(out, "{}  {}", case.id, one_line(&case.title))?;
    let assignee = case.assignee.as_deref().unwrap_or("nobody");
    writeln!(out, "status    {}, {}, assigned to {assignee}", case.status, case.severity.as_str())?;
    if let Some(verdict) = case.verdict {
        writeln!(out, "verdict   {verdict}")?;
    }
    for (kind, values) in &case.entities {
        let values = values.iter().map(|value| one_line(value)).collect::<Vec<_>>().join(", ");
        writeln!(out, "{kind:8}  {values}")?;
    }
    for alert in &case.alerts {
        let title = one_line(&alert.title);
        writeln!(out, "alert     {}  {}  {title} ({})", time(alert.time), alert.uid, alert.detection)?;
    }
    Ok(())
}

/// Closing starts the `on_close` steps of the case's playbooks, so response is started for it and waited for.
fn close(project: &Project, args: &CaseCloseArgs) -> CommandResult {
    let words = Verdict::ALL.iter().map(|verdict| verdict.as_str()).collect::<Vec<_>>();
    let verdict = Verdict::of_word(&args.verdict).ok_or_else(|| {
        CommandError::usage(anyhow!("`{}` is no verdict; they are {}", args.verdict, words.join(", ")))
    })?;
    let by = by(args.by.as_deref())?;
    let rules = compile::rules(project, &project.detections);
    let (response, mut diagnostics) = compile::response(project, &rules);
    let names = rules.catalog.tables().map(|table| table.name.as_str());
    let (tables, found) = compile::tables(names, &rules, &project.dir);
    diagnostics.extend(found);
    check::go_on_without(project, diagnostics);
    let runtime = tokio::runtime::Runtime::new().outside()?;
    let runs = runtime.block_on(async {
        let respond = service::start(&project.config, response, service::lookup_in(tables), Role::Command).await?;
        let runs = respond.close_case(&args.id, verdict, args.comment.as_deref(), &by).await.usage()?;
        let ended = service::finished(&respond, &project.config, &runs).await?;
        respond.stop().await;
        Ok::<_, CommandError>((runs.len(), ended))
    })?;
    let (started, ended) = runs;
    let about =
        if started == 0 { String::new() } else { format!("; of {}, {ended} ended", counted(started, "closing run")) };
    said(&format!("{} is closed as {verdict}{about}", args.id))
}
