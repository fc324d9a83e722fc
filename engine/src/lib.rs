//! The engine: time and rows. SQL becomes one shared dataflow; events go in, hits come out.
//!
//! There is no I/O here, no clock, no randomness, no task and no thread: facts in, results out. The same facts give the
//! same results, which is what makes live runs, tests and replays agree.
//!
//! Reading order: [`catalog`] (what SQL can name), [`query`] (what is asked), [`batch`] (what comes in), [`output`]
//! (what comes out), then `sql` (text to plan), `graph` (plan to operators), `worker` (operators on rows).

pub mod batch;
mod canonical;
pub mod catalog;
mod clock;
pub mod engine;
pub mod error;
pub mod frame;
mod graph;
pub mod identity;
pub mod late_events;
mod operator;
pub mod output;
pub mod program;
pub mod query;
mod rows;
pub mod snapshot;
pub mod sql;
pub mod table;
pub mod time;
pub mod worker;

pub use batch::{ColumnSet, PartitionId, SourceBatch};
pub use catalog::{Catalog, Relation, Stream, Table, View};
pub use engine::{Engine, Outputs};
pub use error::{Diagnostic, EngineError, Level, Place, Span};
pub use frame::{Frame, FrameBody};
pub use identity::Uid;
pub use operator::SequenceRun;
pub use output::{Activity, Hit, LateEvent, LateReason, StreamCounts};
pub use program::{Continuation, Excess, Fault, FaultyText, Limit, Program, Reason, StateBudget};
pub use query::{Exception, Published, PublishedValue, Query, ScalarValue};
pub use snapshot::{Scope, WorkerSnapshot};
pub use sql::{BatchSequence, parse_catalog, parse_catalog_beside, parse_duration_us, plan_batch};
pub use table::TableVersion;
pub use time::EventTime;
pub use worker::{OperatorFault, QueryMeter, Stopwatch, Worker, WorkerOutput, record_uids};
