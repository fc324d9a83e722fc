//! What can stand behind `FROM` in a hunt: the tables of the archive, the project's views over them, its look-up tables.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use weir_connectors::archive::{self, Archive, TableSpec};
use weir_connectors::table;
use weir_engine::Catalog;

use super::{HuntError, Limits, failed};

/// The relations that a text may name.
pub(super) struct Relations {
    providers: BTreeMap<String, Arc<dyn TableProvider>>,
    /// Bytes of Parquet of all of them.
    pub(super) bytes: u64,
}

impl Relations {
    /// The relation of that name, whatever its case.
    pub(super) fn get(&self, name: &str) -> Option<&Arc<dyn TableProvider>> {
        self.providers.get(&name.to_lowercase())
    }

    fn add(&mut self, name: &str, provider: Arc<dyn TableProvider>) {
        self.providers.insert(name.to_lowercase(), provider);
    }
}

/// The tables that every archive has.
pub(super) fn fixed() -> Vec<TableSpec> {
    let published = weir_detections::published();
    let mut tables = vec![archive::alerts(&published.columns), archive::late_events(), archive::dead_letters()];
    tables.extend(weir_detections::own_streams().iter().map(TableSpec::of_own));
    tables
}

/// Opens the relations whose names occur in the text, or in a view that it names. To take one too many costs a look at
/// its log and nothing else, so a name counts wherever it occurs.
pub(super) async fn mentioned(
    archive: &Archive,
    catalog: &Catalog,
    base: &Path,
    text: &str,
) -> Result<Relations, HuntError> {
    let texts = texts(catalog, text);
    let named = |name: &str| texts.iter().any(|text| text.contains(&name.to_lowercase()));
    let mut relations = Relations { providers: BTreeMap::new(), bytes: 0 };
    let mut specs: Vec<TableSpec> = fixed();
    specs.extend(catalog.streams().map(|stream| TableSpec::of_stream(stream)));
    for spec in specs.iter().filter(|spec| named(&spec.name)) {
        relations.add(&spec.name, archive.provider(spec).await?);
        relations.bytes += archive.table_bytes(&spec.name).await?;
    }
    for table in catalog.tables().filter(|table| named(&table.name)) {
        let version = table::load(table, base)?;
        let rows = MemTable::try_new(version.rows.schema(), vec![vec![version.rows]]);
        let limits = Limits { memory_bytes: 0, timeout: std::time::Duration::ZERO };
        relations.add(&table.name, Arc::new(rows.map_err(|error| failed(error, limits))?));
    }
    // Tables of streams that nothing declares any more can still be asked.
    for name in archive.tables().await?.into_iter().filter(|name| named(name)) {
        if relations.get(&name).is_none() && catalog.get(&name).is_none() {
            relations.add(&name, archive.undeclared_provider(&name).await?);
            relations.bytes += archive.table_bytes(&name).await?;
        }
    }
    Ok(relations)
}

/// The text and those of all views that it names, directly or through other views, in lower case.
fn texts(catalog: &Catalog, text: &str) -> Vec<String> {
    let mut texts = vec![text.to_lowercase()];
    let mut seen = BTreeSet::new();
    let mut at = 0;
    while at < texts.len() {
        for view in catalog.views() {
            let name = view.name.to_lowercase();
            if texts[at].contains(&name) && seen.insert(name) {
                texts.push(view.sql.to_lowercase());
            }
        }
        at += 1;
    }
    texts
}
