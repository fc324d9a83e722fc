//! The streams `actions` and `cases`, which are what comes back from response, and `coverage`, which is what was evaluated:
//! for detections that look at it.

use arrow::datatypes::{DataType, Field};
use weir_engine::Stream;
use weir_engine::catalog::TIME_TYPE;

use crate::entity::EntityKind;

/// How far the journal may write two changes out of the order of their times; minutes of coverage are in order.
const LATENESS_US: i64 = 60_000_000;

/// What `FROM actions`, `FROM cases` and `FROM coverage` see; the archive keeps the same columns.
///
/// Shape: every row is one change of one action, or of one case. `uid` is the action's or the case's, `change_id` the
/// change's own. `cases` has one further text column per [`EntityKind`], with all its things in lower case, joined by
/// commas where they are several.
#[must_use]
pub fn own_streams() -> Vec<Stream> {
    vec![actions(), cases(), coverage()]
}

fn actions() -> Stream {
    let texts = ["uid", "run", "playbook", "step", "alert", "case", "action", "target_type", "target", "responder"];
    let mut columns = vec![column("time", TIME_TYPE)];
    columns.extend(texts.map(text));
    columns.extend([text("mode"), text("status"), column("attempt", DataType::Int64)]);
    columns.extend(["detail", "undo", "change_id", "record"].map(text));
    Stream::own("actions", columns, LATENESS_US, "change_id")
}

/// What `FROM coverage` sees.
///
/// Shape: every row is about one detection and one partition, or where it has none, one stream. `time` is the begin of
/// the minute, by the clock on the wall, in which it was told. `status` is `covered` (these offsets were evaluated), `gap`
/// (these were not), `silent` (nothing comes any more) or `nulls` (a column that was filled is empty); `detail` says more.
#[must_use]
pub fn coverage() -> Stream {
    let mut columns = vec![column("time", TIME_TYPE)];
    columns.extend(["uid", "detection", "stream", "status", "detail", "topic"].map(text));
    columns.push(column("partition", DataType::Int32));
    columns.extend(
        ["first_offset", "last_offset", "events", "late", "rejected"].map(|name| column(name, DataType::Int64)),
    );
    columns.extend(["first_event_time", "last_event_time"].map(|name| column(name, TIME_TYPE)));
    Stream::own("coverage", columns, LATENESS_US, "uid")
}

fn cases() -> Stream {
    let mut columns = vec![column("time", TIME_TYPE)];
    columns.extend(["uid", "title", "status", "severity"].map(text));
    columns.push(column("severity_id", DataType::Int64));
    columns.extend(["assignee", "verdict", "ticket"].map(text));
    columns.push(column("alerts", DataType::Int64));
    columns.extend([column("opened", TIME_TYPE), column("closed", TIME_TYPE)]);
    columns.extend(["change", "actor", "change_id", "record"].map(text));
    columns.extend(EntityKind::ALL.iter().map(|kind| text(kind.as_str())));
    Stream::own("cases", columns, LATENESS_US, "change_id")
}

fn column(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn text(name: &str) -> Field {
    column(name, DataType::Utf8View)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::own_streams;

    #[test]
    fn no_entity_has_the_name_of_another_column() {
        for stream in own_streams() {
            let names: BTreeSet<&str> = stream.columns.iter().map(|column| column.name().as_str()).collect();
            assert_eq!(names.len(), stream.columns.len(), "{}", stream.name);
        }
    }
}
