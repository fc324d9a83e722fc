//! The arguments of the commands about cases, questions and playbooks.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::args::Unbuilt;

/// `weir case`
#[derive(Debug, Subcommand)]
pub(crate) enum CaseCommand {
    /// List cases that are not closed
    List(CaseListArgs),
    /// Show a case with its alerts, runs, open questions and audit trail
    Show(CaseShowArgs),
    /// Give a case to somebody
    Assign(CaseAssignArgs),
    /// Close a case with a verdict; the playbooks of its alerts close their tickets
    Close(CaseCloseArgs),
    /// Open a closed case again
    Reopen(CaseReopenArgs),
    /// Check that nobody has changed the audit trail
    Audit,
}

/// `weir case list`
#[derive(Debug, Args)]
pub(crate) struct CaseListArgs {
    /// Only this status: open, in_progress, contained or closed
    #[arg(long)]
    pub(crate) status: Option<String>,
    /// Closed ones too
    #[arg(long)]
    pub(crate) all: bool,
}

/// `weir case show`
#[derive(Debug, Args)]
pub(crate) struct CaseShowArgs {
    /// The case's id, or the beginning of it
    pub(crate) id: String,
}

/// `weir case assign`
#[derive(Debug, Args)]
#[command(after_help = "Example: weir case assign 3f1c alice")]
pub(crate) struct CaseAssignArgs {
    /// The case's id, or the beginning of it
    pub(crate) id: String,
    /// Who works on it from now on
    #[arg(value_name = "WHO")]
    pub(crate) to: String,
    /// Who says so [default: the variable USER, else the account]
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

/// `weir case close`
#[derive(Debug, Args)]
#[command(
    after_help = "Example: weir case close 3f1c --verdict true_positive --comment 'password reset, host reinstalled'"
)]
pub(crate) struct CaseCloseArgs {
    /// The case's id, or the beginning of it
    pub(crate) id: String,
    /// What it turned out to be: true_positive, false_positive, benign, test, suspicious, duplicate, ...
    #[arg(long)]
    pub(crate) verdict: String,
    /// Why, for whoever reads the case later
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    /// Who says so [default: the variable USER, else the account]
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

/// `weir case reopen`
#[derive(Debug, Args)]
pub(crate) struct CaseReopenArgs {
    /// The case's id, or the beginning of it
    pub(crate) id: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: String,
    /// Who says so [default: the variable USER, else the account]
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

/// `weir approve`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  weir approve                      what is asked\n  \
                        weir approve 9b2e --by alice      yes\n  weir approve 9b2e --deny          no")]
pub(crate) struct ApproveArgs {
    /// The run that asks, or the beginning of its id; without it, what is asked is listed
    pub(crate) run: Option<String>,
    /// Which of its questions, where there are several
    #[arg(long)]
    pub(crate) step: Option<String>,
    /// Say no
    #[arg(long)]
    pub(crate) deny: bool,
    /// Who answers [default: the variable USER, else the account]
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

/// `weir playbook`
#[derive(Debug, Subcommand)]
pub(crate) enum PlaybookCommand {
    /// Run one playbook on one alert, as if its detection named it; dry unless weir.toml says live
    Run(PlaybookRunArgs),
    /// Read a CACAO playbook
    #[command(hide = true)]
    Import(Unbuilt),
    /// Write a CACAO playbook
    #[command(hide = true)]
    Export(Unbuilt),
}

/// `weir playbook run`
#[derive(Debug, Args)]
#[command(after_help = "Example: weir replay --input app_signin=a.ndjson --alerts alerts.ndjson\n         \
                        weir playbook run tell_the_team --alert alerts.ndjson")]
pub(crate) struct PlaybookRunArgs {
    /// The playbook's id
    pub(crate) playbook: String,
    /// A file of alert records, one JSON object after the other; the last one is meant
    #[arg(long, value_name = "FILE")]
    pub(crate) alert: PathBuf,
    /// Which alert of the file is meant
    #[arg(long)]
    pub(crate) uid: Option<String>,
}
