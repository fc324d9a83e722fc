//! Claims about HTTP to responders, against a server on loopback.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap as Headers, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{any, get, post};
use futures::StreamExt;
use serde_json::json;

use super::*;

async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn sender() -> HttpSender {
    HttpSender::new(Arc::new(|responder, name| (name != "MISSING").then(|| format!("{responder}-{name}-secret"))), 8)
        .unwrap()
}

fn request(address: SocketAddr, method: Method, path: &str) -> HttpRequest {
    HttpRequest {
        responder: "edr".into(),
        method,
        url: format!("http://{address}{path}"),
        headers: vec![("X-Key".into(), "k1".into())],
        body: (method == Method::Post).then(|| json!({ "a": 1 })),
        auth: Auth::Bearer("TOKEN".into()),
        timeout_ms: 5_000,
    }
}

#[tokio::test]
async fn request_arrives_as_rendered_and_the_answer_is_json() {
    let echo = |headers: Headers, axum::Json(body): axum::Json<Value>| async move {
        let header = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
        (
            StatusCode::CREATED,
            axum::Json(json!({ "body": body, "key": header("x-key"), "auth": header("authorization") })),
        )
    };
    let address = serve(Router::new().route("/x", post(echo))).await;
    let answer = sender().send(&request(address, Method::Post, "/x")).await.unwrap();
    assert_eq!(answer.status, 201);
    assert_eq!(answer.body, json!({ "body": {"a": 1}, "key": "k1", "auth": "Bearer edr-TOKEN-secret" }));
}

#[tokio::test]
async fn failing_status_is_an_answer_and_says_when_to_come_back() {
    let busy = || async { (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "7")], "slow down") };
    let address = serve(Router::new().route("/x", get(busy))).await;
    let answer = sender().send(&request(address, Method::Get, "/x")).await.unwrap();
    assert_eq!(answer, HttpResponse { status: 429, retry_after_ms: Some(7_000), body: json!("slow down") });
}

#[tokio::test]
async fn hung_responder_is_given_up_at_the_limit_and_may_have_acted() {
    let address = serve(Router::new().route("/x", any(|| async { std::future::pending::<()>().await }))).await;
    let hung = HttpRequest { timeout_ms: 50, ..request(address, Method::Post, "/x") };
    let failure = sender().send(&hung).await.unwrap_err();
    assert!(failure.retriable && failure.may_have_left, "{failure:?}");
    assert!(failure.message.contains("no answer within"), "{failure:?}");
}

#[tokio::test]
async fn unreachable_responder_did_not_act() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let failure = sender().send(&request(address, Method::Post, "/x")).await.unwrap_err();
    assert!(failure.retriable && !failure.may_have_left, "{failure:?}");
    assert!(failure.message.starts_with("cannot connect"), "{failure:?}");
}

#[tokio::test]
async fn redirect_to_another_host_is_not_followed_and_one_within_is() {
    let stolen = serve(Router::new().fallback(|_: Request| async { "stolen" })).await;
    let away =
        move || async move { (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, format!("http://{stolen}/y"))]) };
    let within = || async { (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/y")]) };
    let router = Router::new().route("/x", get(away)).route("/w", get(within)).route("/y", get(|| async { "here" }));
    let address = serve(router).await;
    let answer = sender().send(&request(address, Method::Get, "/x")).await.unwrap();
    assert_eq!((answer.status, answer.body), (307, Value::Null));
    let answer = sender().send(&request(address, Method::Get, "/w")).await.unwrap();
    assert_eq!(answer.body, json!("here"));
}

#[tokio::test]
async fn endless_answer_is_cut_off() {
    let endless = || async {
        let chunk = bytes::Bytes::from(vec![b'x'; 65_536]);
        let chunks = futures::stream::repeat(chunk).map(Ok::<_, std::io::Error>);
        axum::body::Body::from_stream(chunks).into_response()
    };
    let address = serve(Router::new().route("/x", get(endless))).await;
    let failure = sender().send(&request(address, Method::Get, "/x")).await.unwrap_err();
    assert!(failure.message.contains("larger than"), "{failure:?}");
}

#[tokio::test]
async fn missing_secret_is_said_before_anything_leaves() {
    let address = serve(Router::new()).await;
    let unauthenticated = HttpRequest { auth: Auth::Bearer("MISSING".into()), ..request(address, Method::Get, "/x") };
    let failure = sender().send(&unauthenticated).await.unwrap_err();
    assert_eq!(failure, refused("the secret `MISSING` of responder edr is not set".into()));
}

#[tokio::test]
async fn responder_that_keeps_failing_is_left_alone_and_others_are_not() {
    let router = Router::new()
        .route("/x", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .route("/ok", get(|| async { "ok" }));
    let address = serve(router).await;
    let sender = sender();
    for _ in 0..5 {
        assert_eq!(sender.send(&request(address, Method::Get, "/x")).await.unwrap().status, 500);
    }
    let failure = sender.send(&request(address, Method::Get, "/x")).await.unwrap_err();
    assert!(failure.retriable && !failure.may_have_left && failure.message.contains("failed too often"), "{failure:?}");
    assert!(failure.left_alone_ms.is_some_and(|ms| (4_000..=5_001).contains(&ms)), "{failure:?}");
    let other = HttpRequest { responder: "firewall".into(), ..request(address, Method::Get, "/ok") };
    assert_eq!(sender.send(&other).await.unwrap().status, 200);
}
