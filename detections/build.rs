//! Says that the crate is stale when shipped content changes: the macro that embeds it does not notice new files.

fn main() {
    for folder in ["library", "streams", "tables"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
