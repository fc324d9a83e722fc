//! The memory of a hunt: shared fairly between operators that can go on on disk.

use std::fmt;

use datafusion::common::resources_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

/// What merges the sorted runs of a partition. It takes what it can get, and does with little: then it merges fewer runs at
/// once (DataFusion 55).
const MERGE: &str = "ExternalSorterMerge";

/// DataFusion's fair pool, in which a partition that merges cannot take what the sorts of others need to begin.
#[derive(Debug)]
pub(super) struct SharedPool {
    fair: FairSpillPool,
    merge_bytes_max: usize,
}

impl SharedPool {
    /// A pool for so many partitions.
    pub(super) fn new(bytes: usize, partitions: usize) -> Self {
        Self { fair: FairSpillPool::new(bytes), merge_bytes_max: bytes / partitions.max(1) / 2 }
    }
}

impl MemoryPool for SharedPool {
    fn name(&self) -> &str {
        self.fair.name()
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.fair.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.fair.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.fair.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.fair.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let name = reservation.consumer().name();
        if name.starts_with(MERGE) && reservation.size() + additional > self.merge_bytes_max {
            return Err(resources_datafusion_err!("{name} may take {} bytes", self.merge_bytes_max));
        }
        self.fair.try_grow(reservation, additional)
    }

    fn reserved(&self) -> usize {
        self.fair.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.fair.memory_limit()
    }
}

impl fmt::Display for SharedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fair.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_merges_leaves_the_sorts_of_other_partitions_their_share() {
        let pool: Arc<dyn MemoryPool> = Arc::new(SharedPool::new(1000, 2));
        let merge = MemoryConsumer::new(format!("{MERGE}[0]")).register(&pool);
        let sort = MemoryConsumer::new("ExternalSorter[1]").with_can_spill(true).register(&pool);
        let join = MemoryConsumer::new("HashJoinInput").register(&pool);
        assert!(merge.try_grow(250).is_ok());
        assert!(merge.try_grow(1).is_err(), "a quarter is its share of two partitions");
        assert!(sort.try_grow(750).is_ok());
        sort.free();
        assert!(join.try_grow(750).is_ok(), "others may take all that is left");
    }

    #[test]
    fn one_partition_merges_in_half_of_the_memory_and_who_has_gone_leaves_its_share() {
        let pool: Arc<dyn MemoryPool> = Arc::new(SharedPool::new(1000, 1));
        let merge = MemoryConsumer::new(format!("{MERGE}[0]")).register(&pool);
        assert!(merge.try_grow(500).is_ok());
        assert!(merge.try_grow(1).is_err());
        merge.free();
        let sort = |partition: usize| {
            MemoryConsumer::new(format!("ExternalSorter[{partition}]")).with_can_spill(true).register(&pool)
        };
        let (one, other) = (sort(0), sort(1));
        assert!(one.try_grow(501).is_err(), "half is for the other");
        drop(other);
        assert!(one.try_grow(1000).is_ok());
    }
}
