//! Runs, cases, approvals and the audit trail in one SQLite file (`weir.db`).
//!
//! Every write is one immediate transaction in WAL mode, synchronised to disk before it returns: what is journaled before
//! a request leaves is still there after a power cut. Several processes may use one file; who read an old version is told.
//!
//! The documents are kept whole in `body`, as JSON; the columns beside them are what is searched. People may read the
//! file with any SQLite shell: `SELECT * FROM steps` shows every action.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use weir_playbooks::audit::Entry;
use weir_playbooks::case::Case;
use weir_playbooks::journal::{
    Approval, ApprovalFilter, AuditFilter, CaseFilter, Change, ChangeOf, Journal, JournalError, RunFilter, Write,
    of_case, of_run,
};
use weir_playbooks::run::{Run, RunStatus};

use crate::failpoint;

mod schema;

/// The version of the tables that this program writes.
pub const FORMAT: i64 = 2;

/// How long a writer waits for another process.
const BUSY: Duration = Duration::from_secs(10);

/// A journal in a SQLite file.
#[derive(Debug)]
pub struct SqliteJournal {
    connection: Connection,
}

/// Why a file cannot be used as a journal.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened: the outside's fault, or the path's.
    #[error("cannot open the journal {path}")]
    Open {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A later version of Weir wrote it.
    #[error("the journal {path} has format {found}; this version of Weir reads up to {FORMAT}: use a later one")]
    NewerFormat {
        /// The file.
        path: String,
        /// Its format.
        found: i64,
    },
    /// It is a SQLite file of something else.
    #[error("{path} is a SQLite file, and not a journal of Weir")]
    NotAJournal {
        /// The file.
        path: String,
    },
}

impl SqliteJournal {
    /// Opens a file, and makes it where there is none.
    ///
    /// Errors: it cannot be opened, or is no journal that this version reads.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display().to_string();
        let failed = |source| StoreError::Open { path: shown.clone(), source };
        let connection = Connection::open(path).map_err(failed)?;
        Self::prepare(connection, &shown)
    }

    fn prepare(mut connection: Connection, path: &str) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Open { path: path.to_owned(), source };
        connection.busy_timeout(BUSY).map_err(failed)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let number = |sql| transaction.query_row(sql, [], |row| row.get::<_, i64>(0));
        let found = number("PRAGMA user_version").map_err(failed)?;
        let tables = number("SELECT count(*) FROM sqlite_schema").map_err(failed)?;
        match (found, tables) {
            (FORMAT, _) => {}
            (0, 0) => {
                transaction.execute_batch(schema::CREATE).map_err(failed)?;
                transaction.execute_batch(schema::CHANGES).map_err(failed)?;
            }
            (1, _) => transaction.execute_batch(schema::CHANGES).map_err(failed)?,
            (0, _) => return Err(StoreError::NotAJournal { path: path.to_owned() }),
            _ => return Err(StoreError::NewerFormat { path: path.to_owned(), found }),
        }
        transaction.commit().map_err(failed)?;
        // These outlive no connection, except the mode of the log, which stays with the file.
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
            .map_err(failed)?;
        Ok(Self { connection })
    }
}

impl Journal for SqliteJournal {
    fn write(&mut self, writes: &[Write]) -> Result<(), JournalError> {
        failpoint::reach("journal.before_write");
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(storage)?;
        for write in writes {
            apply(&transaction, write, writes)?;
        }
        failpoint::reach("journal.before_commit");
        transaction.commit().map_err(storage)?;
        failpoint::reach("journal.committed");
        Ok(())
    }

    fn runs(&mut self, filter: &RunFilter) -> Result<Vec<Run>, JournalError> {
        let mut query = Query::new("SELECT body FROM runs");
        query.equals("id", filter.id.clone());
        query.equals("alert", filter.alert.clone());
        query.equals("case_id", filter.case.clone());
        query.equals("status", filter.status.map(RunStatus::as_str));
        if filter.unfinished {
            query.holds("status IN ('running', 'waiting')");
        }
        query.at_least("updated", filter.since.map(|since| since.timestamp_micros()));
        self.documents(&query, "seq")
    }

    fn cases(&mut self, filter: &CaseFilter) -> Result<Vec<Case>, JournalError> {
        let mut query = Query::new("SELECT body FROM cases");
        query.equals("id", filter.id.clone());
        query.equals("status", filter.status.map(|status| status.as_str()));
        if filter.unclosed {
            query.holds("status <> 'closed'");
        }
        query.parameter("id IN (SELECT case_id FROM case_alerts WHERE alert = ?)", filter.alert.clone());
        if let Some(things) = &filter.about {
            query.any_of("kind = ? AND value = ?", things);
        }
        query.at_least("updated", filter.since.map(|since| since.timestamp_micros()));
        self.documents(&query, "seq")
    }

    fn approvals(&mut self, filter: &ApprovalFilter) -> Result<Vec<Approval>, JournalError> {
        let mut query = Query::new("SELECT body FROM approvals");
        query.equals("run_id", filter.run.clone());
        if filter.open {
            query.holds("approved IS NULL");
        }
        self.documents(&query, "seq")
    }

    fn audit(&mut self, filter: &AuditFilter) -> Result<Vec<Entry>, JournalError> {
        let mut query = Query::new("SELECT body FROM audit");
        query.equals("case_id", filter.case.clone());
        query.equals("run_id", filter.run.clone());
        query.parameter("seq > ?", Some(filter.after as i64));
        self.documents(&query, "seq")
    }

    fn changes(&mut self, of: ChangeOf, after: u64, count_max: usize) -> Result<Vec<Change>, JournalError> {
        let sql = "SELECT seq, body FROM changes WHERE stream = ? AND seq > ? ORDER BY seq LIMIT ?";
        let mut statement = self.connection.prepare_cached(sql).map_err(storage)?;
        let values = params![of.as_str(), after as i64, count_max as i64];
        let rows = statement.query_map(values, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)));
        let change = |row: rusqlite::Result<(i64, String)>| {
            let (seq, body) = row.map_err(storage)?;
            Ok(Change { seq: seq as u64, row: serde_json::from_str(&body).map_err(unreadable)? })
        };
        rows.map_err(storage)?.map(change).collect()
    }

    fn last_change(&mut self) -> Result<u64, JournalError> {
        let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'changes'";
        let last = self.connection.query_row(sql, [], |row| row.get::<_, i64>(0)).optional().map_err(storage)?;
        Ok(last.unwrap_or(0) as u64)
    }
}

impl SqliteJournal {
    fn documents<T: DeserializeOwned>(&self, query: &Query, order: &str) -> Result<Vec<T>, JournalError> {
        let mut statement = self.connection.prepare_cached(&query.sql(order)).map_err(storage)?;
        let values: Vec<&dyn ToSql> = query.values.iter().map(AsRef::as_ref).collect();
        let mut rows = statement.query(values.as_slice()).map_err(storage)?;
        let mut documents = Vec::new();
        while let Some(row) = rows.next().map_err(storage)? {
            let body: String = row.get(0).map_err(storage)?;
            documents.push(serde_json::from_str(&body).map_err(unreadable)?);
        }
        Ok(documents)
    }
}

/// A question to one table; names come from this file and values are always parameters.
struct Query {
    select: &'static str,
    conditions: Vec<String>,
    values: Vec<Box<dyn ToSql>>,
}

impl Query {
    const fn new(select: &'static str) -> Self {
        Self { select, conditions: Vec::new(), values: Vec::new() }
    }

    fn holds(&mut self, condition: &str) {
        self.conditions.push(condition.to_owned());
    }

    fn parameter(&mut self, condition: &str, value: Option<impl ToSql + 'static>) {
        if let Some(value) = value {
            self.conditions.push(condition.to_owned());
            self.values.push(Box::new(value));
        }
    }

    fn equals(&mut self, column: &str, value: Option<impl ToSql + 'static>) {
        self.parameter(&format!("{column} = ?"), value);
    }

    /// Cases about one of these things; about none of them where there are none.
    fn any_of(&mut self, condition: &str, things: &[(String, String)]) {
        let any = if things.is_empty() { "0".to_owned() } else { vec![condition; things.len()].join(" OR ") };
        self.conditions.push(format!("id IN (SELECT case_id FROM case_entities WHERE {any})"));
        for (kind, value) in things {
            self.values.push(Box::new(kind.clone()));
            self.values.push(Box::new(value.clone()));
        }
    }

    fn at_least(&mut self, column: &str, value: Option<i64>) {
        self.parameter(&format!("{column} >= ?"), value);
    }

    fn sql(&self, order: &str) -> String {
        let condition = if self.conditions.is_empty() { "1" } else { &self.conditions.join(" AND ") };
        format!("{} WHERE {condition} ORDER BY {order}", self.select)
    }
}

fn apply(transaction: &Transaction<'_>, write: &Write, together: &[Write]) -> Result<(), JournalError> {
    match write {
        Write::StartRun(run) => {
            let new = insert(transaction, "INSERT OR IGNORE INTO runs (id) VALUES (?)", &run.id)?;
            if !new {
                return Err(JournalError::Exists(run.id.clone()));
            }
            put_run(transaction, run)?;
            put_changes(transaction, ChangeOf::Actions, &of_run(None, run))
        }
        Write::Run(run) => {
            expect_version(transaction, "SELECT version FROM runs WHERE id = ?", &run.id, run.version.wrapping_sub(1))?;
            let sql = "SELECT body FROM runs WHERE id = ?";
            let mut statement = transaction.prepare_cached(sql).map_err(storage)?;
            let body: String = statement.query_row([&run.id], |row| row.get(0)).map_err(storage)?;
            let before: Run = serde_json::from_str(&body).map_err(unreadable)?;
            put_run(transaction, run)?;
            put_changes(transaction, ChangeOf::Actions, &of_run(Some(&before), run))
        }
        Write::OpenCase(case) => {
            let new = insert(transaction, "INSERT OR IGNORE INTO cases (id) VALUES (?)", &case.id)?;
            if !new {
                return Err(JournalError::Exists(case.id.clone()));
            }
            put_case(transaction, case)?;
            put_changes(transaction, ChangeOf::Cases, &[of_case(case, together)])
        }
        Write::Case { case, from } => {
            expect_version(transaction, "SELECT version FROM cases WHERE id = ?", &case.id, *from)?;
            put_case(transaction, case)?;
            put_changes(transaction, ChangeOf::Cases, &[of_case(case, together)])
        }
        Write::Ask(approval) => ask(transaction, approval),
        Write::Decide { run, step, decision } => {
            let known = transaction
                .prepare_cached("SELECT body FROM approvals WHERE run_id = ? AND step = ?")
                .and_then(|mut statement| statement.query_row([run, step], |row| row.get::<_, String>(0)).optional())
                .map_err(storage)?;
            let body = known.ok_or_else(|| JournalError::Missing(format!("question {step} of {run}")))?;
            let mut approval: Approval = serde_json::from_str(&body).map_err(unreadable)?;
            if approval.decision.is_some() {
                return Err(JournalError::Answered(format!("question {step} of {run}")));
            }
            approval.decision = Some(decision.clone());
            let sql = "UPDATE approvals SET approved = ?, decided_by = ?, body = ? WHERE run_id = ? AND step = ?";
            let values = params![decision.approved, decision.by, json(&approval)?, run, step];
            execute(transaction, sql, values)
        }
        Write::Note(note) => {
            let last = transaction
                .prepare_cached("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
                .and_then(|mut statement| {
                    statement.query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))).optional()
                })
                .map_err(storage)?;
            let (seq, previous) = last.unwrap_or_default();
            let entry = Entry::seal(seq as u64 + 1, &previous, note.clone());
            let sql = "INSERT INTO audit (seq, at, actor, case_id, run_id, what, text, hash, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
            let at = note.at.timestamp_micros();
            let body = json(&entry)?;
            let values = params![seq + 1, at, note.actor, note.case, note.run, note.what, note.text, entry.hash, body];
            execute(transaction, sql, values)
        }
    }
}

fn insert(transaction: &Transaction<'_>, sql: &str, id: &str) -> Result<bool, JournalError> {
    let mut statement = transaction.prepare_cached(sql).map_err(storage)?;
    statement.execute([id]).map(|rows| rows == 1).map_err(storage)
}

fn expect_version(transaction: &Transaction<'_>, sql: &str, id: &str, expected: u64) -> Result<(), JournalError> {
    let mut statement = transaction.prepare_cached(sql).map_err(storage)?;
    match statement.query_row([id], |row| row.get::<_, i64>(0)).optional().map_err(storage)? {
        None => Err(JournalError::Missing(id.to_owned())),
        Some(found) if found as u64 == expected => Ok(()),
        Some(_) => Err(JournalError::Conflict(id.to_owned())),
    }
}

fn put_run(transaction: &Transaction<'_>, run: &Run) -> Result<(), JournalError> {
    let sql = "UPDATE runs SET alert = ?, playbook = ?, part = ?, mode = ?, case_id = ?, status = ?, version = ?, \
               started = ?, updated = ?, ended = ?, body = ? WHERE id = ?";
    let values = params![
        run.alert.uid,
        run.playbook,
        run.part.as_str(),
        run.mode.as_str(),
        run.case,
        run.status.as_str(),
        run.version as i64,
        run.started.timestamp_micros(),
        run.updated.timestamp_micros(),
        run.ended.map(|ended| ended.timestamp_micros()),
        json(run)?,
        run.id,
    ];
    execute(transaction, sql, values)?;
    for (seq, step) in run.steps.iter().enumerate() {
        let sql = "INSERT OR REPLACE INTO steps \
                   (run_id, seq, step, does, status, responder, command, external_id, verified, undo, error, attempts, started, ended) \
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let values = params![
            run.id,
            seq as i64,
            step.id,
            step.does,
            step.status.as_str(),
            step.responder,
            step.command.as_ref().map(ToString::to_string),
            step.external_id,
            step.verified,
            step.undo.as_ref().map(ToString::to_string),
            step.error,
            step.attempts,
            step.started.timestamp_micros(),
            step.ended.map(|ended| ended.timestamp_micros()),
        ];
        execute(transaction, sql, values)?;
    }
    Ok(())
}

fn put_changes(transaction: &Transaction<'_>, of: ChangeOf, rows: &[serde_json::Value]) -> Result<(), JournalError> {
    let sql = "INSERT INTO changes (stream, body) VALUES (?, ?)";
    rows.iter().try_for_each(|row| execute(transaction, sql, params![of.as_str(), row.to_string()]))
}

fn put_case(transaction: &Transaction<'_>, case: &Case) -> Result<(), JournalError> {
    let sql = "UPDATE cases SET title = ?, severity = ?, status = ?, assignee = ?, verdict = ?, version = ?, \
               opened = ?, updated = ?, closed = ?, body = ? WHERE id = ?";
    let values = params![
        case.title,
        case.severity.as_str(),
        case.status.as_str(),
        case.assignee,
        case.verdict.map(|verdict| verdict.as_str()),
        case.version as i64,
        case.opened.timestamp_micros(),
        case.updated.timestamp_micros(),
        case.closed.map(|closed| closed.timestamp_micros()),
        json(case)?,
        case.id,
    ];
    execute(transaction, sql, values)?;
    for alert in &case.alerts {
        let sql = "INSERT OR IGNORE INTO case_alerts (case_id, alert, detection) VALUES (?, ?, ?)";
        execute(transaction, sql, params![case.id, alert.uid, alert.detection])?;
    }
    for (kind, values) in &case.entities {
        for value in values {
            let sql = "INSERT OR IGNORE INTO case_entities (kind, value, case_id) VALUES (?, ?, ?)";
            execute(transaction, sql, params![kind, value, case.id])?;
        }
    }
    Ok(())
}

fn ask(transaction: &Transaction<'_>, approval: &Approval) -> Result<(), JournalError> {
    let sql =
        "INSERT OR IGNORE INTO approvals (run_id, step, question, asked, expires, body) VALUES (?, ?, ?, ?, ?, ?)";
    let (asked, expires) = (approval.asked.timestamp_micros(), approval.expires.timestamp_micros());
    let values = params![approval.run, approval.step, approval.question, asked, expires, json(approval)?];
    execute(transaction, sql, values)
}

fn execute(transaction: &Transaction<'_>, sql: &str, values: &[&dyn ToSql]) -> Result<(), JournalError> {
    transaction.prepare_cached(sql).and_then(|mut statement| statement.execute(values)).map(drop).map_err(storage)
}

fn json(document: &impl Serialize) -> Result<String, JournalError> {
    serde_json::to_string(document).map_err(unreadable)
}

fn storage(error: rusqlite::Error) -> JournalError {
    JournalError::Storage(Box::new(error))
}

fn unreadable(error: serde_json::Error) -> JournalError {
    JournalError::Unreadable(Box::new(error))
}

#[cfg(test)]
mod tests;
