//! Where a record came from. Positions are evidence and the place to go on from; identity never depends on them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One partition of one topic, or a file as partition 0 of itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic, or the name of a file as it was given.
    pub topic: Arc<str>,
    /// The number of the partition.
    pub partition: i32,
}

/// The place of one record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The topic, or the name of a file as it was given.
    pub topic: Arc<str>,
    /// The number of the partition; 0 for a file.
    pub partition: i32,
    /// The offset in the partition, or the line of a file from 1.
    pub offset: i64,
}

impl TopicPartition {
    /// The place of one record in this partition.
    #[must_use]
    pub fn at(&self, offset: i64) -> Position {
        Position { topic: Arc::clone(&self.topic), partition: self.partition, offset }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.topic, self.partition, self.offset)
    }
}

/// The next offset to read of every partition that was ever read. It is written into manifests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Position>", into = "Vec<Position>")]
pub struct Positions(BTreeMap<TopicPartition, i64>);

impl Positions {
    /// The next offset of a partition; `None` where it was never read.
    #[must_use]
    pub fn next(&self, partition: &TopicPartition) -> Option<i64> {
        self.0.get(partition).copied()
    }

    /// Notes the next offset of a partition. An offset behind the noted one changes nothing.
    pub fn advance(&mut self, partition: &TopicPartition, next: i64) {
        match self.0.get_mut(partition) {
            Some(noted) => *noted = next.max(*noted),
            None => drop(self.0.insert(partition.clone(), next)),
        }
    }

    /// All partitions with their next offsets, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicPartition, i64)> {
        self.0.iter().map(|(partition, next)| (partition, *next))
    }

    /// Whether nothing was ever read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<Position>> for Positions {
    fn from(list: Vec<Position>) -> Self {
        let entry = |Position { topic, partition, offset }| (TopicPartition { topic, partition }, offset);
        Self(list.into_iter().map(entry).collect())
    }
}

impl From<Positions> for Vec<Position> {
    fn from(positions: Positions) -> Self {
        positions.iter().map(|(partition, next)| partition.at(next)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_json_and_never_go_back() -> Result<(), serde_json::Error> {
        let partition = TopicPartition { topic: "a".into(), partition: 2 };
        let mut positions = Positions::default();
        positions.advance(&partition, 7);
        positions.advance(&partition, 5);
        let text = serde_json::to_string(&positions)?;
        assert_eq!(text, r#"[{"topic":"a","partition":2,"offset":7}]"#);
        assert_eq!(serde_json::from_str::<Positions>(&text)?, positions);
        Ok(())
    }
}
