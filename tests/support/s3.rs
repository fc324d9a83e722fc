//! A real S3 server: moto, in a process of its own that lives as long as the test. It keeps objects in memory.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{ObjectStore as _, ObjectStoreExt as _};

use super::pipeline::Pipeline;
use super::skip::skip;

const START_PATIENCE: Duration = Duration::from_secs(60);
const BUCKET: &str = "weir-test";

/// A server with one bucket.
pub(crate) struct S3 {
    process: Child,
    address: String,
}

impl S3 {
    /// A server that runs, or a skip of `test`.
    pub(crate) fn start(test: &str) -> Option<Self> {
        let Some(python) = std::env::var_os("WEIR_TEST_S3").filter(|python| !python.is_empty()) else {
            skip(test, "no S3 server (set WEIR_TEST_S3 to what `tests/s3/python` prints)");
            return None;
        };
        // Only the server can say that a port is free; this one was, a moment ago, and nobody else asks for it by name.
        let probe = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = probe.local_addr().expect("a bound port has an address").port();
        drop(probe);
        let process = Command::new(python)
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the Python of WEIR_TEST_S3 runs");
        let server = Self { process, address: format!("127.0.0.1:{port}") };
        server.make_bucket();
        Some(server)
    }

    /// Puts state and archive of a project into the bucket. Endpoint and region stand in the file, the credentials in
    /// the environment and in a secret file, as they would elsewhere.
    pub(crate) fn hold(&self, pipeline: &mut Pipeline) {
        pipeline.project.write("s3-key", "test\n");
        pipeline.project.set_variable("S3_KEY_ID", "test");
        let options = |section: &str| {
            format!(
                "[{section}.options]\naws_endpoint = \"http://{}\"\naws_allow_http = \"true\"\naws_region = \
                 \"eu-central-1\"\naws_access_key_id = \"${{S3_KEY_ID}}\"\naws_secret_access_key = \"file:./s3-key\"\n",
                self.address
            )
        };
        pipeline.configure("file:./state", &format!("s3://{BUCKET}/weir/state"));
        pipeline.configure("file:./archive", &format!("s3://{BUCKET}/weir/archive"));
        pipeline.configure("[engine]", &format!("{}{}[engine]", options("state"), options("archive")));
    }

    /// Copies every object below `from` into a folder.
    pub(crate) fn download(&self, from: &str, folder: &Path) {
        let store = self.store();
        let copy = async {
            let objects: Vec<_> = store.list(Some(&from.into())).try_collect().await.expect("the bucket can be listed");
            for object in objects {
                let bytes = store.get(&object.location).await.expect("it was listed").bytes().await.expect("its bytes");
                let path = object.location.as_ref().strip_prefix(from).expect("it lies below");
                let file = folder.join(path.trim_start_matches('/'));
                std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder can be made");
                std::fs::write(file, bytes).expect("a file can be written");
            }
        };
        runtime().block_on(copy);
    }

    /// The names of the objects below `from`.
    pub(crate) fn names(&self, from: &str) -> Vec<String> {
        let store = self.store();
        let listing = store.list(Some(&from.into())).map_ok(|object| object.location.to_string());
        let mut names: Vec<_> = runtime().block_on(listing.try_collect()).expect("the bucket can be listed");
        names.sort();
        names
    }

    fn store(&self) -> AmazonS3 {
        let builder = AmazonS3Builder::new().with_endpoint(format!("http://{}", self.address)).with_allow_http(true);
        let builder = builder.with_bucket_name(BUCKET).with_region("eu-central-1");
        builder.with_access_key_id("test").with_secret_access_key("test").build().expect("settings of a store")
    }

    /// Makes the bucket as soon as the server answers.
    fn make_bucket(&self) {
        let deadline = Instant::now() + START_PATIENCE;
        let place = "<CreateBucketConfiguration><LocationConstraint>eu-central-1</LocationConstraint>\
                     </CreateBucketConfiguration>";
        let request = format!(
            "PUT /{BUCKET} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nConnection: close\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20240301/eu-central-1/s3/aws4_request\r\n\r\n{place}",
            self.address,
            place.len()
        );
        loop {
            let mut answer = String::new();
            let asked = TcpStream::connect(&self.address)
                .and_then(|mut stream| stream.write_all(request.as_bytes()).map(|()| stream))
                .and_then(|mut stream| stream.read_to_string(&mut answer));
            if asked.is_ok() && answer.starts_with("HTTP/1.1 200") {
                return;
            }
            assert!(Instant::now() < deadline, "no S3 server in {START_PATIENCE:?}: {asked:?} {answer}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.process.kill().expect("the server can be killed");
        self.process.wait().expect("the server can be waited for");
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
