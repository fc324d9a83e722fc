//! Where state and archive live: a folder, or a bucket of S3, Google Cloud or Azure, behind one interface.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Component, Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutMode};
use url::Url;

use crate::failpoint;

#[cfg(test)]
pub(crate) mod faulty;

/// A folder on some object store.
#[derive(Debug, Clone)]
pub struct Location {
    url: Url,
    root: Arc<dyn ObjectStore>,
    prefix: Path,
}

/// Why a location cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// The text is not a location. Whose fault: admin. What next: mend the configuration.
    #[error(
        "{text:?} is not a location: {reason}; write file:FOLDER, s3://BUCKET/PATH, gs://BUCKET/PATH or az://CONTAINER/PATH"
    )]
    Malformed {
        /// The text as configured.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store behind the location refuses its settings. Whose fault: admin.
    #[error("{text:?} cannot be reached as it is configured")]
    Settings {
        /// The text as configured.
        text: String,
        /// What the store says.
        source: object_store::Error,
    },
}

/// Whether what stands behind a URL has a setting of that name, whatever its case. Stores pass over settings that they do not
/// know, so whoever reads them from people has to ask.
#[must_use]
pub fn has_setting(url: &Url, name: &str) -> bool {
    let name = name.to_lowercase();
    match ObjectStoreScheme::parse(url) {
        Ok((ObjectStoreScheme::AmazonS3, _)) => name.parse::<AmazonS3ConfigKey>().is_ok(),
        Ok((ObjectStoreScheme::GoogleCloudStorage, _)) => name.parse::<GoogleConfigKey>().is_ok(),
        Ok((ObjectStoreScheme::MicrosoftAzure, _)) => name.parse::<AzureConfigKey>().is_ok(),
        _ => false,
    }
}

impl Location {
    /// Opens a location; nothing is created, read or written by that.
    ///
    /// `text` is `file:FOLDER` or a plain folder (relative ones start at `base`), `memory:`, `s3://`, `gs://` or
    /// `az://`. `options` are settings of the cloud store by their usual names (`aws_region`, `AWS_ENDPOINT`,
    /// `google_service_account`, `azure_storage_account_name`), whatever their case; see [`has_setting`] for those there are.
    ///
    /// # Errors
    /// The text is not a location, or the store refuses its settings.
    pub fn open(text: &str, base: &FilePath, options: &BTreeMap<String, String>) -> Result<Self, LocationError> {
        let malformed = |reason: String| LocationError::Malformed { text: text.to_owned(), reason };
        if text == "memory:" {
            return Ok(Self::memory());
        }
        let url = match text.split_once(':') {
            Some(("file", rest)) => folder_url(rest.strip_prefix("//").unwrap_or(rest), base).map_err(malformed)?,
            Some((scheme, _)) if scheme.len() > 1 && text.contains("://") => {
                Url::parse(text).map_err(|error| malformed(error.to_string()))?
            }
            _ => folder_url(text, base).map_err(malformed)?,
        };
        Self::at(&url, options)
    }

    /// Opens a location whose URL is known already; that of a folder is absolute.
    ///
    /// # Errors
    /// The store refuses its settings.
    pub fn at(url: &Url, options: &BTreeMap<String, String>) -> Result<Self, LocationError> {
        let options = options.iter().map(|(key, value)| (key.to_lowercase(), value.clone()));
        let (root, prefix) = object_store::parse_url_opts(url, options)
            .map_err(|source| LocationError::Settings { text: url.to_string(), source })?;
        Ok(Self { url: url.clone(), root: Arc::from(root), prefix })
    }

    /// A location of its own that lives as long as its clones.
    #[must_use]
    pub fn memory() -> Self {
        let url = Url::parse("memory:///").expect("a constant URL");
        Self { url, root: Arc::new(InMemory::new()), prefix: Path::default() }
    }

    /// A store that is known already, in memory as far as anybody can tell.
    #[cfg(test)]
    pub(crate) fn of_store(store: impl ObjectStore) -> Self {
        Self { root: Arc::new(store), ..Self::memory() }
    }

    /// The folder `name` inside this location.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(name);
        }
        Self { url, root: Arc::clone(&self.root), prefix: self.prefix.clone().join(name) }
    }

    /// Its URL, for people and for logs; it never holds a secret.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The folder on the local disk, where it is one.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        (self.url.scheme() == "file").then(|| self.url.to_file_path().ok()).flatten()
    }

    /// Writes an object so that it outlives a loss of power: whole, or not at all.
    ///
    /// Object stores promise that by themselves. On a local disk a file is written beside its place, flushed to the
    /// disk, and only then put there, since its name could otherwise outlive its content.
    pub(crate) async fn put(&self, path: &Path, bytes: Bytes, mode: PutMode) -> Result<(), object_store::Error> {
        let Some(folder) = self.folder() else {
            return self.store().put_opts(path, bytes.into(), mode.into()).await.map(drop);
        };
        let file = path.parts().fold(folder, |folder, part| folder.join(part.as_ref()));
        let write = tokio::task::spawn_blocking(move || write_durably(&file, &bytes, &mode));
        write.await.map_err(|source| object_store::Error::JoinError { source })?
    }

    /// Deletes an object; one that is not there is deleted already.
    ///
    /// An object store has no folders of its own. On a local disk the folder of an epoch goes with its last file, or a
    /// pipeline that runs for months would use up the disk with empty ones.
    pub(crate) async fn delete(&self, path: &Path) -> Result<(), object_store::Error> {
        match self.store().delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        let Some(folder) = self.folder() else { return Ok(()) };
        let mut parts: Vec<_> = path.parts().collect();
        if parts.len() > 2 {
            parts.pop();
            let folder = parts.iter().fold(folder, |folder, part| folder.join(part.as_ref()));
            // It is not empty as long as it is needed.
            drop(tokio::fs::remove_dir(folder).await);
        }
        Ok(())
    }

    /// Flushes an object that was written in another way; where that cannot be done there is nothing to flush.
    pub(crate) async fn flush(&self, path: &Path) -> Result<(), object_store::Error> {
        let Some(folder) = self.folder() else { return Ok(()) };
        let file = path.parts().fold(folder, |folder, part| folder.join(part.as_ref()));
        let flush = tokio::task::spawn_blocking(move || {
            std::fs::File::open(&file).and_then(|open| open.sync_all()).map_err(|error| local_error(error, &file))
        });
        flush.await.map_err(|source| object_store::Error::JoinError { source })?
    }

    /// The store as a whole.
    pub(crate) fn root(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.root)
    }

    /// The store with this folder as its root.
    pub(crate) fn store(&self) -> Arc<dyn ObjectStore> {
        if self.prefix == Path::default() {
            return self.root();
        }
        Arc::new(PrefixStore::new(self.root(), self.prefix.clone()))
    }
}

fn write_durably(file: &FilePath, bytes: &[u8], mode: &PutMode) -> Result<(), object_store::Error> {
    let folder = file.parent().unwrap_or(file);
    // Named for the file, so that what a sudden death leaves goes when the file would have gone.
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.{}.tmp", uuid::Uuid::new_v4().simple()));
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut temporary = std::fs::File::create_new(&beside)?;
        temporary.write_all(bytes)?;
        temporary.sync_all()?;
        failpoint::reach("object.before_name");
        match mode {
            // A link, unlike a rename, does not replace what is there.
            PutMode::Create => {
                std::fs::hard_link(&beside, file)?;
                failpoint::reach("object.named");
                std::fs::remove_file(&beside)?;
            }
            PutMode::Overwrite | PutMode::Update(_) => std::fs::rename(&beside, file)?,
        }
        // The new name is an entry of the folder, which is flushed on its own. Not every system can open a folder.
        std::fs::File::open(folder).map_or(Ok(()), |folder| folder.sync_all())
    };
    write().map_err(|error| {
        if beside.exists() {
            drop(std::fs::remove_file(&beside));
        }
        local_error(error, file)
    })
}

fn local_error(error: std::io::Error, file: &FilePath) -> object_store::Error {
    let path = file.display().to_string();
    match error.kind() {
        std::io::ErrorKind::AlreadyExists => object_store::Error::AlreadyExists { path, source: error.into() },
        std::io::ErrorKind::NotFound => object_store::Error::NotFound { path, source: error.into() },
        std::io::ErrorKind::PermissionDenied => object_store::Error::PermissionDenied { path, source: error.into() },
        _ => object_store::Error::Generic { store: "local disk", source: error.into() },
    }
}

/// The absolute `file:` URL of a folder, without `.` and `..`.
fn folder_url(folder: &str, base: &FilePath) -> Result<Url, String> {
    if folder.is_empty() {
        return Err("the folder is missing".to_owned());
    }
    let absolute = std::path::absolute(base.join(folder)).map_err(|error| error.to_string())?;
    let mut plain = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    Url::from_file_path(&plain).map_err(|()| format!("{} has no URL", plain.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> String {
        Location::open(text, FilePath::new("/project/my folder"), &BTreeMap::new()).unwrap().url().to_string()
    }

    #[test]
    fn relative_folders_start_at_the_base() {
        assert_eq!(url("file:./archive"), "file:///project/my%20folder/archive");
        assert_eq!(url("archive"), "file:///project/my%20folder/archive");
        assert_eq!(url("file:../state"), "file:///project/state");
        assert_eq!(url("file:/var/weir"), "file:///var/weir");
        assert_eq!(url("file:///var/weir"), "file:///var/weir");
    }

    #[test]
    fn a_setting_is_known_by_its_store_whatever_its_case() {
        let has = |url: &str, name: &str| has_setting(&Url::parse(url).unwrap(), name);
        assert!(has("s3://b/p", "aws_region") && has("s3://b/p", "AWS_ENDPOINT") && has("s3://b/p", "aws_allow_http"));
        assert!(has("gs://b/p", "google_service_account") && has("az://c/p", "azure_storage_account_name"));
        assert!(!has("s3://b/p", "aws_regoin") && !has("gs://b/p", "aws_region") && !has("file:///p", "aws_region"));
    }

    #[tokio::test]
    async fn on_a_disk_and_in_memory_a_new_object_never_replaces_one() {
        let folder = tempfile::tempdir().unwrap();
        for place in [Location::memory(), Location::open("here", folder.path(), &BTreeMap::new()).unwrap()] {
            let path = Path::from("a/b c/1");
            place.put(&path, Bytes::from_static(b"first"), PutMode::Create).await.unwrap();
            let again = place.put(&path, Bytes::from_static(b"second"), PutMode::Create).await;
            assert!(matches!(again, Err(object_store::Error::AlreadyExists { .. })), "{again:?}");
            let read = async || place.store().get(&path).await.unwrap().bytes().await.unwrap();
            assert_eq!(read().await, "first");
            place.put(&path, Bytes::from_static(b"third"), PutMode::Overwrite).await.unwrap();
            assert_eq!(read().await, "third");
            place.flush(&path).await.unwrap();
        }
        assert_eq!(
            std::fs::read_dir(folder.path().join("here/a/b c")).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn buckets_are_locations() {
        let options = BTreeMap::from([("AWS_REGION".to_owned(), "eu-central-1".to_owned())]);
        let bucket = Location::open("s3://logs/weir", FilePath::new("/"), &options).unwrap();
        assert_eq!(bucket.join("alerts").url().as_str(), "s3://logs/weir/alerts");
        assert_eq!(bucket.folder(), None);
    }

    #[test]
    fn what_is_no_location_is_refused_with_the_way_to_write_one() {
        let error = Location::open("ftp://host/x", FilePath::new("/"), &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("ftp://host/x"), "{error}");
        assert!(Location::open("file:", FilePath::new("/"), &BTreeMap::new()).is_err());
    }
}
