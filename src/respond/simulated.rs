//! SIMULATED vendors on loopback: an EDR, a firewall, an identity provider, a ticket server and a chat that answer real
//! HTTP in the shape of the shipped responder files and keep state, so that what was done can be looked at afterwards.
//!
//! They serve the demo and the tests. Nothing outside of this process is touched by them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::lock;

/// What the simulated systems know.
#[derive(Debug, Default, Clone)]
pub(crate) struct World {
    /// Isolated devices by name.
    pub(crate) isolated: BTreeSet<String>,
    /// Blocked domains and addresses.
    pub(crate) blocked: BTreeSet<String>,
    /// Accounts whose password must be set anew.
    pub(crate) reset: BTreeSet<String>,
    /// Disabled accounts.
    pub(crate) disabled: BTreeSet<String>,
    /// Tickets in the order of their numbers.
    pub(crate) tickets: Vec<Ticket>,
    /// Chat messages.
    pub(crate) messages: Vec<String>,
    /// Every request: method and path with query.
    pub(crate) requests: Vec<String>,
    /// Requests that the EDR carried out, by idempotency key.
    keys: BTreeMap<String, Value>,
    /// How often requests whose path contains the text still fail with 500.
    failures: Vec<(String, usize)>,
    /// Requests whose path contains one of these are never answered.
    hung: Vec<String>,
}

/// A ticket of the simulated ticket server.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Its title.
    pub(crate) subject: String,
    /// `new` or `resolved`.
    pub(crate) status: String,
    /// The alert's id.
    pub(crate) fingerprint: String,
    /// What it was resolved as.
    pub(crate) resolution: Option<String>,
    /// First text and comments.
    pub(crate) comments: Vec<String>,
}

type Shared = Arc<Mutex<World>>;

/// The simulated systems, served until dropped.
pub(crate) struct Simulated {
    address: SocketAddr,
    world: Shared,
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests wait for requests"))]
    requested: watch::Sender<u64>,
    server: JoinHandle<()>,
}

impl Drop for Simulated {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Simulated {
    /// Serves all five on one free port of loopback.
    ///
    /// # Errors
    /// The port cannot be had.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let world = Shared::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("cannot listen on loopback")?;
        let address = listener.local_addr().context("cannot learn the port")?;
        let requested = watch::Sender::new(0);
        let router = router(Arc::clone(&world), requested.clone());
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "the simulated systems ended");
            }
        });
        Ok(Self { address, world, requested, server })
    }

    /// What the shipped responder files call their settings: addresses and secrets of the simulated systems.
    pub(crate) fn setting(&self, name: &str) -> Option<String> {
        let path = match name {
            "EDR_URL" => "/edr",
            "FIREWALL_URL" => "/firewall",
            "IDP_URL" => "/idp",
            "RT_URL" => "/rt",
            "CHAT_URL" => "/chat",
            _ => return name.ends_with("_TOKEN").then(|| format!("simulated-{name}")),
        };
        Some(format!("http://{}{path}", self.address))
    }

    /// A look at the state.
    pub(crate) fn world(&self) -> World {
        lock(&self.world).clone()
    }

    #[cfg(test)]
    /// Waits until a request whose path contains a text has come.
    pub(crate) async fn requested(&self, path: &str) {
        let mut requested = self.requested.subscribe();
        while !self.world().requests.iter().any(|request| request.contains(path)) {
            if requested.changed().await.is_err() {
                return;
            }
        }
    }

    #[cfg(test)]
    /// Lets the next `times` requests whose path contains a text fail with 500.
    pub(crate) fn fail(&self, path: &str, times: usize) {
        lock(&self.world).failures.push((path.to_owned(), times));
    }

    #[cfg(test)]
    /// Never answers requests whose path contains a text, until [`heal`](Self::heal).
    pub(crate) fn hang(&self, path: &str) {
        lock(&self.world).hung.push(path.to_owned());
    }

    #[cfg(test)]
    /// Answers everything again. Requests that hang are not answered any more.
    pub(crate) fn heal(&self) {
        let mut world = lock(&self.world);
        world.hung.clear();
        world.failures.clear();
    }
}

fn router(world: Shared, requested: watch::Sender<u64>) -> Router {
    Router::new()
        .route("/edr/devices", get(find_device))
        .route("/edr/devices/{id}", get(show_device))
        .route("/edr/devices/{id}/isolation", post(isolate).delete(release))
        .route("/firewall/blocklists/{list}/{value}", put(block).get(show_block).delete(unblock))
        .route("/idp/users/{user}", get(show_user).patch(change_user))
        .route("/idp/users/{user}/password/reset", post(reset_password))
        .route("/idp/users/{user}/sessions", axum::routing::delete(end_sessions))
        .route("/rt/REST/2.0/tickets", get(find_tickets))
        .route("/rt/REST/2.0/ticket", post(open_ticket))
        .route("/rt/REST/2.0/ticket/{id}", get(show_ticket).put(change_ticket))
        .route("/rt/REST/2.0/ticket/{id}/comment", post(comment))
        .route("/chat/notify", post(notify))
        .layer(middleware::from_fn_with_state((Arc::clone(&world), requested), trouble))
        .with_state(world)
}

fn see(world: &Shared) -> MutexGuard<'_, World> {
    lock(world)
}

/// Writes every request down, and fails or hangs as told.
async fn trouble(
    State((world, requested)): State<(Shared, watch::Sender<u64>)>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let (hangs, fails) = {
        let mut world = see(&world);
        world.requests.push(format!("{} {path}", request.method()));
        let hangs = world.hung.iter().any(|text| path.contains(text));
        let failing = world.failures.iter_mut().find(|(text, left)| *left > 0 && path.contains(text.as_str()));
        let fails = failing.is_some();
        if let Some((_, left)) = failing {
            *left -= 1;
        }
        (hangs, fails)
    };
    requested.send_modify(|count| *count += 1);
    if hangs {
        // Longer than any limit of a request.
        tokio::time::sleep(Duration::from_secs(3_600)).await;
    }
    if fails {
        (StatusCode::INTERNAL_SERVER_ERROR, "SIMULATED failure").into_response()
    } else {
        next.run(request).await
    }
}

async fn find_device(Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    let name = query.get("hostname").cloned().unwrap_or_default();
    Json(json!({ "devices": [{ "id": format!("dev-{name}"), "hostname": name }] }))
}

async fn show_device(State(world): State<Shared>, Path(id): Path<String>) -> Json<Value> {
    let name = id.trim_start_matches("dev-");
    Json(json!({ "id": id, "isolated": see(&world).isolated.contains(name) }))
}

async fn isolate(State(world): State<Shared>, Path(id): Path<String>, headers: HeaderMap) -> (StatusCode, Json<Value>) {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
    let mut world = see(&world);
    let next = json!({ "action_id": format!("act-{}", world.keys.len() + 1) });
    let answer = world.keys.entry(key).or_insert(next).clone();
    world.isolated.insert(id.trim_start_matches("dev-").to_owned());
    (StatusCode::ACCEPTED, Json(answer))
}

async fn release(State(world): State<Shared>, Path(id): Path<String>) -> StatusCode {
    see(&world).isolated.remove(id.trim_start_matches("dev-"));
    StatusCode::NO_CONTENT
}

async fn block(State(world): State<Shared>, Path((_, value)): Path<(String, String)>) -> StatusCode {
    see(&world).blocked.insert(value);
    StatusCode::CREATED
}

async fn show_block(State(world): State<Shared>, Path((_, value)): Path<(String, String)>) -> Json<Value> {
    Json(json!({ "blocked": see(&world).blocked.contains(&value) }))
}

async fn unblock(State(world): State<Shared>, Path((_, value)): Path<(String, String)>) -> StatusCode {
    see(&world).blocked.remove(&value);
    StatusCode::NO_CONTENT
}

async fn show_user(State(world): State<Shared>, Path(user): Path<String>) -> Json<Value> {
    let world = see(&world);
    Json(
        json!({ "name": user, "enabled": !world.disabled.contains(&user), "password_reset_required": world.reset.contains(&user) }),
    )
}

async fn change_user(State(world): State<Shared>, Path(user): Path<String>, Json(body): Json<Value>) -> StatusCode {
    let mut world = see(&world);
    match body.get("enabled").and_then(Value::as_bool) {
        Some(true) => drop(world.disabled.remove(&user)),
        Some(false) => drop(world.disabled.insert(user)),
        None => return StatusCode::BAD_REQUEST,
    }
    StatusCode::OK
}

async fn reset_password(State(world): State<Shared>, Path(user): Path<String>) -> StatusCode {
    see(&world).reset.insert(user);
    StatusCode::OK
}

async fn end_sessions() -> StatusCode {
    StatusCode::NO_CONTENT
}

async fn find_tickets(State(world): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    let text = query.get("query").cloned().unwrap_or_default();
    let wanted = text.split('\'').nth(1).unwrap_or_default();
    let world = see(&world);
    let found = world.tickets.iter().enumerate().filter(|(_, ticket)| ticket.fingerprint == wanted);
    Json(json!({ "items": found.map(|(at, _)| json!({ "id": at + 1 })).collect::<Vec<_>>() }))
}

async fn open_ticket(State(world): State<Shared>, Json(body): Json<Value>) -> (StatusCode, Json<Value>) {
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut world = see(&world);
    world.tickets.push(Ticket {
        subject: text("/Subject"),
        status: "new".to_owned(),
        fingerprint: text("/CustomFields/Fingerprint"),
        resolution: None,
        comments: vec![text("/Content")],
    });
    (StatusCode::CREATED, Json(json!({ "id": world.tickets.len(), "type": "ticket" })))
}

async fn show_ticket(State(world): State<Shared>, Path(id): Path<usize>) -> Response {
    let world = see(&world);
    match id.checked_sub(1).and_then(|at| world.tickets.get(at)) {
        Some(ticket) => Json(json!({ "id": id, "Status": ticket.status, "Subject": ticket.subject })).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn change_ticket(State(world): State<Shared>, Path(id): Path<usize>, Json(body): Json<Value>) -> StatusCode {
    let mut world = see(&world);
    let Some(ticket) = id.checked_sub(1).and_then(|at| world.tickets.get_mut(at)) else { return StatusCode::NOT_FOUND };
    if let Some(status) = body.get("Status").and_then(Value::as_str) {
        status.clone_into(&mut ticket.status);
    }
    if let Some(resolution) = body.pointer("/CustomFields/Resolution").and_then(Value::as_str) {
        ticket.resolution = Some(resolution.to_owned());
    }
    StatusCode::OK
}

async fn comment(State(world): State<Shared>, Path(id): Path<usize>, Json(body): Json<Value>) -> StatusCode {
    let mut world = see(&world);
    let Some(ticket) = id.checked_sub(1).and_then(|at| world.tickets.get_mut(at)) else { return StatusCode::NOT_FOUND };
    ticket.comments.push(body.get("Content").and_then(Value::as_str).unwrap_or_default().to_owned());
    StatusCode::CREATED
}

async fn notify(State(world): State<Shared>, Json(body): Json<Value>) -> StatusCode {
    see(&world).messages.push(body.get("text").and_then(Value::as_str).unwrap_or_default().to_owned());
    StatusCode::OK
}
