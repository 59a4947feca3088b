//! The front door at work: nginx with the configuration of `deploy/nginx` in front of servers of this process.
//! Only addresses and folders are this test's; every other line is the one that is deployed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{place, text};
use crate::support::{PATIENCE, TestServer, connect_to};

/// A running nginx; it ends with this.
struct Door {
    process: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Drop for Door {
    fn drop(&mut self) {
        // The master ends its workers when it is told to, not when it is killed.
        let pid = self.process.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        if told.is_err() {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

impl Door {
    /// In front of three nodes.
    async fn before(nodes: [SocketAddr; 3]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = nowhere().await;
        // Workers of a master that is root are somebody else.
        let everybodys = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), everybodys).expect("its own folder");
        write(folder.path(), address, nodes);
        let process = Command::new("nginx")
            .args(["-g", "daemon off;", "-e", "stderr", "-p"])
            .arg(folder.path())
            .arg("-c")
            .arg(folder.path().join("nginx.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("nginx starts: `cargo verify` gets it");
        let mut door = Self {
            process,
            address,
            _folder: folder,
        };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).await.is_err() {
            let ended = door.process.try_wait().is_ok_and(|status| status.is_some());
            assert!(!ended && Instant::now() < deadline, "nginx does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        door
    }

    async fn call(&self, server: &TestServer, method: &str, path: &str) -> (u16, Value) {
        let url = format!("http://{}{path}", self.address);
        let request = server.http.request(method.parse().expect("a method"), url);
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }
}

/// The files as they are deployed, in a folder and on ports of this test's.
fn write(folder: &Path, address: SocketAddr, nodes: [SocketAddr; 3]) {
    let moved = |text: String| {
        let here = format!("{}/", folder.display());
        let mut text = text
            // In this order: the test's folder may be in `/tmp` itself.
            .replace("/tmp/", &here)
            .replace("/etc/nginx/", &here)
            .replace("listen 8080 ", &format!("listen {address} "))
            .replace("access_log /dev/stdout plain;", "access_log off;")
            .replace("worker_processes auto;", "worker_processes 1;")
            // As many as a server may open, which is not every machine's to give.
            .replace("worker_rlimit_nofile 262144;", "")
            .replace("worker_connections 65536;", "worker_connections 256;");
        for (number, node) in nodes.iter().enumerate() {
            let name = format!("kith-{}:7700", number + 1);
            text = text.replace(&name, &node.to_string());
        }
        text
    };
    std::fs::create_dir(folder.join("conf.d")).expect("a folder");
    for item in place("nginx/conf.d").read_dir().expect("a folder") {
        let name = item.expect("an item").file_name();
        let name = format!("conf.d/{}", name.to_string_lossy());
        let text = moved(text(&format!("nginx/{name}")));
        std::fs::write(folder.join(name), text).expect("written");
    }
    let main = moved(text("nginx/nginx.conf"));
    assert!(!main.contains("kith-1"), "{main}");
    std::fs::write(folder.join("nginx.conf"), main).expect("written");
}

/// An address where nothing listens.
async fn nowhere() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    listener.local_addr().expect("an address")
}

/// What a node that drains says to everybody.
async fn draining() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while let Ok(1..) = socket.read(&mut bytes).await {
                    let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}";
                    if socket.write_all(answer.as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

/// A server that believes the door.
async fn server() -> TestServer {
    TestServer::with(|config| {
        let door = "127.0.0.1".to_owned().try_into();
        config.server.proxies = vec![door.expect("an address")];
    })
    .await
}

#[tokio::test]
async fn people_talk_through_the_door_though_nodes_are_away_or_drain() {
    let server = server().await;
    let door = Door::before([nowhere().await, server.app().address, draining().await]).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    // More than once around, so that each node is asked.
    for _ in 0..6 {
        let mut socket = connect_to(door.address, Some("kith.v1.json")).await;
        assert!(socket.hello(&ann.token, "phone").await["ok"].is_object());
    }
    let mut from = connect_to(door.address, Some("kith.v1.json")).await;
    let mut to = connect_to(door.address, Some("kith.v1.json")).await;
    assert!(from.hello(&ann.token, "phone").await["ok"].is_object());
    assert!(to.hello(&bob.token, "phone").await["ok"].is_object());
    let said = from.send_text(&bob.id, "1", "through the door").await;
    assert_eq!(said["ok"]["seq"], 1, "{said}");
    let told = to.event("entry").await;
    assert_eq!(told["entry"]["seq"], 1, "{told}");
    for _ in 0..6 {
        let (status, ready) = door.call(&server, "GET", "/readyz").await;
        assert_eq!((status, &ready["status"]), (200, &json!("ready")));
    }
}

#[tokio::test]
async fn nothing_but_the_clients_interface_is_behind_the_door() {
    let server = server().await;
    let node = server.app().address;
    let door = Door::before([node; 3]).await;
    for path in ["/v1/openapi.json", "/.well-known/jwks.json"] {
        assert_eq!(door.call(&server, "GET", path).await.0, 200, "{path}");
    }
    let (status, refused) = door.call(&server, "GET", "/v1/me").await;
    assert_eq!(status, 401, "a node's own answer: {refused}");
    for path in ["/", "/metrics", "/healthz", "/admin/v1/nodes"] {
        assert_eq!(door.call(&server, "GET", path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn nobody_says_through_the_door_where_they_are() {
    let server = server().await;
    let door = Door::before([server.app().address; 3]).await;
    let ban = json!({"kind": "address", "subject": "203.0.113.9"});
    let (status, made) = server.admin("POST", "/bans", Some(ban)).await;
    assert_eq!(status, 201, "{made}");
    let registered = async |name: &str, address: SocketAddr| {
        let body = json!({"username": name, "password": "password-1"});
        let request = server.http.post(format!("http://{address}/v1/users"));
        let request = request.header("x-forwarded-for", "203.0.113.9").json(&body);
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(
        registered("from-there", server.app().address).await,
        403,
        "a proxy is believed"
    );
    let through = registered("from-here", door.address).await;
    assert_eq!(through, 201, "a client is not");
}

#[tokio::test]
async fn a_large_upload_is_let_through_and_a_huge_one_is_not() {
    let server = server().await;
    let door = Door::before([server.app().address; 3]).await;
    let ann = server.user("ann").await;
    let file = vec![b'x'; 8 << 20];
    let asked = json!({"name": "a.bin", "mime": "application/octet-stream", "bytes": file.len()});
    let ticket = server
        .http
        .post(format!("http://{}/v1/media", door.address))
        .bearer_auth(&ann.token)
        .json(&asked);
    let ticket: Value = ticket
        .send()
        .await
        .expect("sent")
        .json()
        .await
        .expect("JSON");
    let url = ticket["upload"]["url"].as_str().expect("a URL");
    let here = format!("http://{}/v1/", door.address);
    assert!(url.starts_with(&here), "it leads through the door: {url}");
    let headers = ticket["upload"]["headers"].as_object().expect("headers");
    let mut upload = server.http.put(url).body(file);
    for (name, value) in headers {
        upload = upload.header(name, value.as_str().expect("a text"));
    }
    let status = upload.send().await.expect("an answer").status();
    assert!(status.is_success(), "{status}");
    let mut socket = TcpStream::connect(door.address).await.expect("connects");
    let huge = "PUT /v1/media HTTP/1.1\r\nhost: kith\r\ncontent-length: 300000000\r\n\r\n";
    socket.write_all(huge.as_bytes()).await.expect("written");
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");
}
