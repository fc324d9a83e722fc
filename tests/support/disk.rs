//! A small disk of a test's own, which it can fill up and make read-only.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::skip::skip;

/// A file system in memory, mounted on a folder until the test ends.
pub(crate) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts one of so many MiB on `folder`, or skips `test` where nobody may mount.
    pub(crate) fn mount(test: &str, folder: PathBuf, megabytes: usize) -> Option<Self> {
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        let is_mounted = mount(&["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "weir-test"], &folder);
        if !is_mounted {
            skip(test, "no file system can be mounted here (it takes root, and a container that may)");
            return None;
        }
        Some(Self { folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        let mut file = std::fs::File::create(self.folder.join("ballast")).expect("a file can be made");
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Gives back what [`fill`](Self::fill) took.
    pub(crate) fn free(&self) {
        std::fs::remove_file(self.folder.join("ballast")).expect("the ballast can be removed");
    }

    /// Lets nobody write, or lets everybody again.
    pub(crate) fn set_read_only(&self, is_read_only: bool) {
        let mode = if is_read_only { "remount,ro" } else { "remount,rw" };
        assert!(mount(&["-o", mode], &self.folder), "it can be mounted anew");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What still has a file open there does not keep the test from ending.
        let status = Command::new("umount").arg("-l").arg(&self.folder).status().expect("umount can be run");
        assert!(status.success() || std::thread::panicking(), "the disk can be unmounted");
    }
}

fn mount(options: &[&str], folder: &Path) -> bool {
    let status = Command::new("mount").args(options).arg(folder).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
