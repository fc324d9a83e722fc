//! The tables of a journal file.

/// Makes an empty file a journal. Instants are microseconds since 1970 in UTC.
pub(super) const CREATE: &str = "
CREATE TABLE runs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  alert TEXT, playbook TEXT, part TEXT, mode TEXT, case_id TEXT, status TEXT,
  version INTEGER NOT NULL DEFAULT 0,
  started INTEGER, updated INTEGER, ended INTEGER,
  body TEXT
);
CREATE INDEX runs_by_alert ON runs (alert);
CREATE INDEX runs_by_case ON runs (case_id);
CREATE INDEX runs_by_update ON runs (updated);
CREATE INDEX runs_unfinished ON runs (seq) WHERE status IN ('running', 'waiting');

CREATE TABLE steps (
  run_id TEXT NOT NULL REFERENCES runs (id),
  seq INTEGER NOT NULL,
  step TEXT NOT NULL, does TEXT NOT NULL, status TEXT NOT NULL,
  responder TEXT, command TEXT, external_id TEXT, verified INTEGER, undo TEXT, error TEXT,
  attempts INTEGER NOT NULL,
  started INTEGER NOT NULL, ended INTEGER,
  PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;

CREATE TABLE approvals (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  run_id TEXT NOT NULL, step TEXT NOT NULL,
  question TEXT NOT NULL,
  asked INTEGER NOT NULL, expires INTEGER NOT NULL,
  approved INTEGER, decided_by TEXT,
  body TEXT NOT NULL,
  UNIQUE (run_id, step)
);

CREATE TABLE cases (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  title TEXT, severity TEXT, status TEXT, assignee TEXT, verdict TEXT,
  version INTEGER NOT NULL DEFAULT 0,
  opened INTEGER, updated INTEGER, closed INTEGER,
  body TEXT
);
CREATE INDEX cases_by_update ON cases (updated);
CREATE INDEX cases_unclosed ON cases (updated) WHERE status <> 'closed';

CREATE TABLE case_alerts (
  case_id TEXT NOT NULL REFERENCES cases (id),
  alert TEXT NOT NULL, detection TEXT NOT NULL,
  PRIMARY KEY (case_id, alert)
) WITHOUT ROWID;
CREATE INDEX case_alerts_by_alert ON case_alerts (alert);

CREATE TABLE case_entities (
  kind TEXT NOT NULL, value TEXT NOT NULL,
  case_id TEXT NOT NULL REFERENCES cases (id),
  PRIMARY KEY (kind, value, case_id)
) WITHOUT ROWID;

CREATE TABLE audit (
  seq INTEGER PRIMARY KEY,
  at INTEGER NOT NULL, actor TEXT NOT NULL, case_id TEXT, run_id TEXT,
  what TEXT NOT NULL, text TEXT NOT NULL,
  hash TEXT NOT NULL,
  body TEXT NOT NULL
);
CREATE INDEX audit_by_case ON audit (case_id);
CREATE INDEX audit_by_run ON audit (run_id);
-- The trail is append-only; whoever gets around this is found by the chain of hashes.
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;

";

/// Adds what format 2 has beside format 1. The numbers of changes go on where the audit trail is, since the archive
/// counted by that.
pub(super) const CHANGES: &str = "
CREATE TABLE changes (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  stream TEXT NOT NULL,
  body TEXT NOT NULL
);
INSERT INTO sqlite_sequence (name, seq) SELECT 'changes', coalesce(max(seq), 0) FROM audit;
CREATE INDEX changes_by_stream ON changes (stream, seq);

PRAGMA user_version = 2;
";
