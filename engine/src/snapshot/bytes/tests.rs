use std::collections::BTreeMap;

use arrow::array::{Int64Array, StringViewArray};
use proptest::prelude::*;

use super::*;
use crate::snapshot::SavedClocks;

fn snapshot() -> WorkerSnapshot {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("count", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]))),
        ("who", Arc::new(StringViewArray::from(vec!["eve", "somebody with a long name", ""]))),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let ids: BinaryArray = ["a", "b", "c"].iter().map(|id| Some(id.as_bytes())).collect();
    let changes = vec![Change::Put { section: 1, ids: Some(ids), rows }, Change::Drop { section: 2 }];
    let uid = crate::Uid::of_cause([b"window".as_slice()]);
    let name = StateName { kept: uid, exact: uid, own: uid };
    let clock = SavedClock { greatest: Some(5), has_ended: false, held: None };
    let clocks = SavedClocks::from([("signin".to_owned(), BTreeMap::from([(PartitionId(2), clock)]))]);
    WorkerSnapshot::new([(name, Saved { is_whole: true, changes })].into_iter(), clocks)
}

fn is_refused(bytes: &[u8]) -> bool {
    WorkerSnapshot::from_bytes(bytes).is_err_and(|error| !error.to_string().is_empty())
}

#[test]
fn any_missing_end_is_refused() {
    let bytes = snapshot().to_bytes().unwrap();
    assert!(WorkerSnapshot::from_bytes(&bytes).is_ok());
    assert!((0..bytes.len()).all(|length| is_refused(&bytes[..length])));
}

#[test]
fn any_changed_byte_is_refused() {
    let bytes = snapshot().to_bytes().unwrap();
    // A change that makes the format without a hash of it is left to the digest in the manifest.
    let format = MAGIC.len();
    for at in 0..bytes.len() {
        for mask in [0x01, 0x10, 0x80, 0xff].into_iter().filter(|mask| at != format || *mask != 0x01) {
            let mut changed = bytes.clone();
            changed[at] ^= mask;
            assert!(is_refused(&changed), "byte {at} ^ {mask}");
        }
    }
}

#[test]
fn the_format_without_a_hash_is_read_and_a_later_one_is_named() {
    let bytes = snapshot().to_bytes().unwrap();
    let body = &bytes[MAGIC.len() + 4 + HASH_BYTES..];
    let of_format = |format: u32| [&MAGIC[..], &format.to_le_bytes(), body].concat();
    let read = WorkerSnapshot::from_bytes(&of_format(FORMAT_UNHASHED)).unwrap();
    assert_eq!(read.to_bytes().unwrap(), bytes);
    let error = WorkerSnapshot::from_bytes(&of_format(4)).unwrap_err();
    assert!(error.to_string().contains("format 4 is none that this version reads; it reads 2 and 3"), "{error}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        prop_assert!(is_refused(&bytes));
        prop_assert!(is_refused(&[&MAGIC[..], &FORMAT.to_le_bytes(), &bytes].concat()));
    }
}
