//! How Parquet files are laid out, so that a hunt reads little: sorted by time, one day per file, zstd, page index, and
//! bloom filters on the columns that are asked for one value.

use arrow::datatypes::{DataType, Fields};
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use datafusion::parquet::schema::types::ColumnPath;

/// What small files are joined to.
pub(crate) const FILE_BYTES: u64 = 128 << 20;

/// Rows of a row group; small enough that its statistics and bloom filters still exclude something.
const ROW_GROUP_ROWS: usize = 256 * 1024;

/// Rows of a page.
const PAGE_ROWS: usize = 8 * 1024;

/// One value in this many is wrongly taken for present.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// Words in the name of a column that holds observables: things one looks for by their exact value.
const OBSERVABLES: [&str; 24] = [
    "ip",
    "ipaddress",
    "ipaddr",
    "addr",
    "address",
    "domain",
    "query",
    "fqdn",
    "hash",
    "hashes",
    "md5",
    "sha1",
    "sha256",
    "user",
    "username",
    "account",
    "email",
    "host",
    "hostname",
    "computer",
    "device",
    "url",
    "uid",
    "arn",
];

/// Properties of a file that will hold `rows` rows of these columns.
pub(crate) fn properties(stored: &Fields, rows: usize) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_created_by(concat!("weir ", env!("CARGO_PKG_VERSION")).to_owned());
    let distinct_max = rows.clamp(1, ROW_GROUP_ROWS) as u64;
    // Bounds of bytes exclude nothing, and the Delta library warns of each.
    for field in stored.iter().filter(|field| field.data_type() == &DataType::Binary) {
        let path = ColumnPath::new(vec![field.name().clone()]);
        builder = builder.set_column_statistics_enabled(path, EnabledStatistics::None);
    }
    let mut paths = Vec::new();
    observables(stored, &mut Vec::new(), &mut paths);
    for path in paths {
        builder = builder
            .set_column_bloom_filter_enabled(path.clone(), true)
            .set_column_bloom_filter_fpp(path.clone(), BLOOM_FALSE_POSITIVES)
            .set_column_bloom_filter_max_ndv(path, distinct_max);
    }
    builder.build()
}

/// The paths of the text columns whose names say that they hold observables.
fn observables(fields: &Fields, above: &mut Vec<String>, found: &mut Vec<ColumnPath>) {
    for field in fields {
        above.push(field.name().clone());
        match field.data_type() {
            DataType::Struct(inner) => observables(inner, above, found),
            DataType::Utf8 if above.iter().any(|name| is_observable(name)) => {
                found.push(ColumnPath::new(above.clone()))
            }
            _ => {}
        }
        above.pop();
    }
}

/// Whether a name has one of the words in it, whether it is written `src_ip`, `SourceIp`, `id.orig_h` or `dst-domain`.
fn is_observable(name: &str) -> bool {
    let mut words = vec![String::new()];
    let mut previous_lower = false;
    for letter in name.chars() {
        if !letter.is_alphanumeric() || (letter.is_uppercase() && previous_lower) {
            words.push(String::new());
        }
        previous_lower = letter.is_lowercase() || letter.is_numeric();
        if let Some(word) = words.last_mut().filter(|_| letter.is_alphanumeric()) {
            word.extend(letter.to_lowercase());
        }
    }
    // Zeek's names for the two ends of a connection.
    let zeek = ["orig_h", "resp_h"].iter().any(|end| name.ends_with(end));
    zeek || words.iter().any(|word| OBSERVABLES.contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observables_are_known_by_the_words_in_their_names() {
        for name in
            ["ip", "src_ip", "SourceIp", "dst.domain", "Hashes", "TargetUserName", "id.orig_h", "hostname", "_uid"]
        {
            assert!(is_observable(name), "{name}");
        }
        for name in ["zip", "description", "CommandLine", "ship_to", "userland", "_time"] {
            assert!(!is_observable(name), "{name}");
        }
    }
}
