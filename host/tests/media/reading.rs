//! Who may read media, and how they are handed out: members now, everyone for an avatar, nobody else; parts, headers,
//! links that end.

use serde_json::{Value, json};

use super::steps::{self, content, fetch, picture, response, uploaded};
use crate::support::{TestServer, TestUser};

#[tokio::test]
async fn a_media_is_read_by_its_uploader_and_by_who_may_read_a_message_with_it() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (eve, dan) = (server.user("eve").await, server.user("dan").await);
    let bytes = picture(400, 300);
    let image = uploaded(&server, &ann, "a.png", "image/png", bytes.clone()).await;
    let (id, thumb) = (&image["id"], &image["thumb"]);
    assert_eq!(fetch(&server, &ann, id).await, (200, bytes.clone()));
    assert_eq!(fetch(&server, &bob, id).await.0, 404, "not sent yet");
    let mut from = server.session(&ann).await;
    let ack = steps::send(&mut from, &bob.id, "1", content("image", &image)).await;
    assert_eq!(ack["ok"]["state"], "committed", "{ack}");
    assert_eq!(fetch(&server, &bob, id).await, (200, bytes.clone()));
    let (status, small) = fetch(&server, &bob, thumb).await;
    assert_eq!(status, 200);
    let small = image::load_from_memory(&small).expect("a picture");
    assert_eq!((small.width(), small.height()), (320, 240));
    for named in [id, thumb, &json!("12345"), &json!("x")] {
        assert_eq!(fetch(&server, &eve, named).await.0, 404, "{named}");
    }
    // Forwarded: who is given it can read it, and nobody who was not can forward it.
    let (mut forwards, mut steals) = (server.session(&bob).await, server.session(&eve).await);
    let stolen = steps::send(&mut steals, &dan.id, "1", content("image", &image)).await;
    assert_eq!(stolen["err"]["code"], "not_found");
    steps::send(&mut forwards, &dan.id, "1", content("image", &image)).await;
    assert_eq!(fetch(&server, &dan, id).await, (200, bytes));
    assert_eq!(fetch(&server, &eve, id).await.0, 404);
}

#[tokio::test]
async fn what_is_not_complete_or_not_ones_own_is_not_found() {
    let server = TestServer::bare().await;
    let (ann, eve) = (server.user("ann").await, server.user("eve").await);
    let asked = steps::ticket(&server, &ann, "a", "text/plain", 3).await.1;
    let id = asked["id"].as_str().expect("an id");
    assert_eq!(fetch(&server, &ann, &asked["id"]).await.0, 404);
    steps::upload(&server, &asked, b"abc".to_vec()).await;
    assert_eq!(fetch(&server, &ann, &asked["id"]).await.0, 404);
    assert_eq!(steps::complete(&server, &eve, id).await.0, 404);
    for wrong in ["1", "x", "-1"] {
        assert_eq!(steps::complete(&server, &ann, wrong).await.0, 404);
    }
    assert_eq!(steps::complete(&server, &ann, id).await.0, 200);
}

#[tokio::test]
async fn a_recall_takes_the_access_that_the_message_gave_and_no_other() {
    let server = TestServer::bare().await;
    let (ann, bob, dan) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("dan").await,
    );
    let mut from = server.session(&ann).await;
    let image = uploaded(&server, &ann, "a.png", "image/png", picture(9, 9)).await;
    let first = steps::send(&mut from, &bob.id, "1", content("image", &image)).await;
    steps::send(&mut from, &dan.id, "1", content("image", &image)).await;
    let recall = json!({"conversation": first["ok"]["conversation"], "seq": first["ok"]["seq"]});
    assert!(from.request("recall", recall).await["ok"].is_object());
    assert_eq!(fetch(&server, &bob, &image["id"]).await.0, 404);
    assert_eq!(fetch(&server, &bob, &image["thumb"]).await.0, 404);
    assert_eq!(fetch(&server, &dan, &image["id"]).await.0, 200);
    steps::sweep_whole(&server).await;
    assert_eq!(
        fetch(&server, &dan, &image["id"]).await.0,
        200,
        "another message still has it"
    );
}

#[tokio::test]
async fn an_edit_gives_the_new_picture_and_takes_the_old_one() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let of =
        async |user: &TestUser| uploaded(&server, user, "a.png", "image/png", picture(9, 9)).await;
    let (old, new, foreign) = (of(&ann).await, of(&ann).await, of(&bob).await);
    let mut from = server.session(&ann).await;
    let ack = steps::send(&mut from, &bob.id, "1", content("image", &old)).await;
    let edit = |media: &Value| {
        json!({
            "conversation": ack["ok"]["conversation"], "seq": ack["ok"]["seq"],
            "content": content("image", media),
        })
    };
    let stolen = from.request("edit", edit(&foreign)).await;
    assert_eq!(stolen["err"]["code"], "not_found", "{stolen}");
    assert_eq!(fetch(&server, &bob, &old["id"]).await.0, 200);
    let done = from.request("edit", edit(&new)).await;
    assert!(done["ok"]["seq"].is_u64(), "{done}");
    assert_eq!(fetch(&server, &bob, &old["id"]).await.0, 404);
    assert_eq!(fetch(&server, &bob, &new["id"]).await.0, 200);
    steps::sweep_whole(&server).await;
    assert_eq!(fetch(&server, &ann, &old["id"]).await.0, 404);
    let recall = json!({"conversation": ack["ok"]["conversation"], "seq": ack["ok"]["seq"]});
    assert!(from.request("recall", recall).await["ok"].is_object());
    assert_eq!(fetch(&server, &bob, &new["id"]).await.0, 404);
}

#[tokio::test]
async fn an_avatar_is_an_own_picture_and_everybody_signed_in_reads_it() {
    let server = TestServer::bare().await;
    let (ann, eve) = (server.user("ann").await, server.user("eve").await);
    let image = uploaded(&server, &ann, "a.png", "image/png", picture(90, 90)).await;
    let text = uploaded(&server, &ann, "a.txt", "text/plain", b"abc".to_vec()).await;
    let foreign = uploaded(&server, &eve, "e.png", "image/png", picture(9, 9)).await;
    let open = steps::ticket(&server, &ann, "o.png", "image/png", 3)
        .await
        .1;
    let set = async |avatar: &Value| {
        let body = json!({"avatar": avatar});
        server
            .call("PATCH", "/v1/me", Some(&ann.token), Some(body))
            .await
    };
    for (avatar, status) in [
        (&text["id"], 400),
        (&foreign["id"], 404),
        (&open["id"], 404),
        (&image["thumb"], 404),
        (&json!("nothing"), 404),
        (&image["id"], 200),
    ] {
        let (found, answer) = set(avatar).await;
        assert_eq!(found, status, "{avatar}: {answer}");
    }
    let (_, shown) = server
        .call(
            "GET",
            &format!("/v1/users/{}", ann.id),
            Some(&eve.token),
            None,
        )
        .await;
    assert_eq!(shown["avatar"], image["id"]);
    assert_eq!(fetch(&server, &eve, &image["id"]).await.0, 200);
    let day = 24 * 60 * 60 * 1000;
    steps::sweep_at(&server, 2 * day).await;
    steps::sweep_at(&server, 3 * day).await;
    assert_eq!(fetch(&server, &eve, &image["id"]).await.0, 200);
    // Taken away, it is nobody's: unread by others at once, gone soon.
    assert_eq!(set(&Value::Null).await.0, 200);
    assert_eq!(fetch(&server, &eve, &image["id"]).await.0, 404);
    assert_eq!(fetch(&server, &ann, &image["id"]).await.0, 200);
    steps::sweep_whole(&server).await;
    assert_eq!(fetch(&server, &ann, &image["id"]).await.0, 404);
}

#[tokio::test]
async fn a_part_of_a_file_can_be_asked_for() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let letters: Vec<u8> = (b'a'..=b'z').collect();
    let media = uploaded(&server, &ann, "a.txt", "text/plain", letters).await;
    let url = response(&server, &ann, &media["id"]).await.url().clone();
    for (range, status, body, of) in [
        ("bytes=1-3", 206, "bcd", "bytes 1-3/26"),
        ("bytes=24-", 206, "yz", "bytes 24-25/26"),
        ("bytes=-2", 206, "yz", "bytes 24-25/26"),
        ("bytes=0-1,3-4", 200, "abcdefghijklmnopqrstuvwxyz", ""),
    ] {
        let request = server.http.get(url.clone()).header("range", range);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{range}");
        let told = answer.headers().get("content-range");
        let told = told.map_or("", |value| value.to_str().expect("text"));
        assert_eq!(told, of, "{range}");
        assert_eq!(answer.text().await.expect("a body"), body, "{range}");
    }
    let outside = server.http.get(url.clone()).header("range", "bytes=26-");
    let outside = outside.send().await.expect("an answer");
    assert_eq!(outside.status(), 416);
    assert_eq!(outside.headers()["content-range"], "bytes */26");
    let whole = server
        .http
        .get(url.clone())
        .send()
        .await
        .expect("an answer");
    let tag = whole.headers()["etag"].clone();
    let again = server.http.get(url.clone()).header("if-none-match", tag);
    assert_eq!(again.send().await.expect("an answer").status(), 304);
    let head = server.http.head(url).send().await.expect("an answer");
    assert_eq!(
        (head.status().as_u16(), &head.headers()["content-length"]),
        (200, &"26".parse().expect("a header"))
    );
}

#[tokio::test]
async fn no_browser_takes_an_upload_for_a_page_of_this_server() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let page = b"<!DOCTYPE html><script>alert(1)</script>".to_vec();
    let drawing = b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script/></svg>".to_vec();
    for (name, mime, bytes, how) in [
        ("a.html", "text/html", page.clone(), "attachment"),
        ("a.txt", "text/plain", page, "attachment"),
        ("a.svg", "image/svg+xml", drawing, "attachment"),
        ("猫.png", "image/png", picture(3, 3), "inline"),
    ] {
        let media = uploaded(&server, &ann, name, mime, bytes).await;
        let answer = response(&server, &ann, &media["id"]).await;
        let header = |name: &str| {
            let value = answer.headers()[name].to_str().expect("text");
            value.to_owned()
        };
        assert_eq!(
            header("content-type"),
            media["mime"].as_str().expect("text")
        );
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert!(header("content-security-policy").contains("sandbox"));
        let disposition = header("content-disposition");
        assert!(disposition.starts_with(how), "{name}: {disposition}");
        assert!(disposition.contains("filename*=UTF-8''"), "{disposition}");
    }
}

#[tokio::test]
async fn a_link_to_a_download_ends_and_cannot_be_made_up() {
    let server = TestServer::with(|config| config.media.link_ttl_s = 1).await;
    let ann = server.user("ann").await;
    let media = uploaded(&server, &ann, "a.txt", "text/plain", b"abc".to_vec()).await;
    let other = uploaded(&server, &ann, "a.txt", "text/plain", b"abc".to_vec()).await;
    let url = response(&server, &ann, &media["id"])
        .await
        .url()
        .to_string();
    let get = async |url: &str| {
        let answer = server.http.get(url).send().await.expect("an answer");
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap_or_default();
        (status, body["code"].as_str().unwrap_or_default().to_owned())
    };
    let id = |media: &Value| media["id"].as_str().expect("an id").to_owned();
    for forged in [
        url.replace(&id(&media), &id(&other)),
        url.replace("expires=", "expires=9"),
        url.replace("signature=", "signature=0"),
        url.split('?').next().expect("a path").to_owned(),
    ] {
        assert_eq!(get(&forged).await, (401, "unauthenticated".to_owned()));
    }
    let ended = loop {
        let answer = get(&url).await;
        if answer.0 != 200 {
            break answer;
        }
    };
    assert_eq!(ended, (401, "expired".to_owned()));
}

#[tokio::test]
async fn a_picture_of_the_senders_own_stands_for_a_film_and_is_read_with_it() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut film = b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isommp41".to_vec();
    film.resize(500, 0);
    let film = uploaded(&server, &ann, "a.mp4", "video/mp4", film).await;
    let still = uploaded(&server, &ann, "a.png", "image/png", picture(16, 9)).await;
    let mut content = content("video", &film);
    content["thumb"] = still["id"].clone();
    content["duration_ms"] = 1234.into();
    let mut from = server.session(&ann).await;
    let ack = steps::send(&mut from, &bob.id, "1", content).await;
    assert_eq!(ack["ok"]["state"], "committed", "{ack}");
    let mut to = server.session(&bob).await;
    let asked = json!({"conversation": ack["ok"]["conversation"]});
    let entries = to.request("history", asked).await["ok"]["entries"].clone();
    let sent = &entries[0]["content"];
    assert_eq!(
        (&sent["duration_ms"], &sent["thumb"]),
        (&json!(1234), &still["id"])
    );
    for id in [&film["id"], &still["id"]] {
        assert_eq!(fetch(&server, &bob, id).await.0, 200);
    }
}

#[tokio::test]
async fn who_may_not_write_to_somebody_gives_them_no_media_either() {
    let server = TestServer::with_plugins().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let before = uploaded(&server, &ann, "a.png", "image/png", picture(9, 9)).await;
    let after = uploaded(&server, &ann, "b.png", "image/png", picture(9, 9)).await;
    let mut from = server.session(&ann).await;
    steps::send(&mut from, &bob.id, "1", content("image", &before)).await;
    let block = format!("/v1/blocks/{}", ann.id);
    let blocked = server.call("PUT", &block, Some(&bob.token), None).await;
    assert_eq!(blocked.0, 204);
    let refused = steps::send(&mut from, &bob.id, "2", content("image", &after)).await;
    assert_eq!(refused["err"]["code"], "blocked", "{refused}");
    assert_eq!(fetch(&server, &bob, &after["id"]).await.0, 404);
    // Both are members still, and the earlier message stands in their history.
    assert_eq!(fetch(&server, &bob, &before["id"]).await.0, 200);
}

#[tokio::test]
async fn who_is_signed_out_reads_no_media() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let image = uploaded(&server, &ann, "a.png", "image/png", picture(9, 9)).await;
    assert_eq!(fetch(&server, &ann, &image["id"]).await.0, 200);
    let disable = format!("/users/{}/disable", ann.id);
    let disabled = server.admin("POST", &disable, None).await;
    assert!(disabled.0 < 300, "{}", disabled.1);
    assert!(matches!(
        fetch(&server, &ann, &image["id"]).await.0,
        401 | 403
    ));
}

#[tokio::test]
async fn a_search_finds_a_file_by_its_name_and_not_by_its_bytes() {
    let server =
        TestServer::with(|config| config.search.engine = kith::config::SearchEngine::Embedded)
            .await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (eve, bytes) = (server.user("eve").await, b"a walrus".to_vec());
    let file = uploaded(&server, &ann, "otter.txt", "text/plain", bytes).await;
    let mut named = content("file", &file);
    named["name"] = "otter.txt".into();
    let mut from = server.session(&ann).await;
    let ack = steps::send(&mut from, &bob.id, "1", named).await["ok"].clone();
    let found = async |user: &TestUser, words: &str| {
        server.app().indexed().await;
        let path = format!("/v1/search?q={words}");
        let (status, answer) = server.call("GET", &path, Some(&user.token), None).await;
        assert_eq!(status, 200, "{answer}");
        answer["messages"].as_array().expect("messages").len()
    };
    assert_eq!(found(&bob, "otter").await, 1);
    assert_eq!(found(&bob, "walrus").await, 0);
    assert_eq!(
        found(&bob, file["id"].as_str().expect("an id")).await,
        0,
        "an id is no text"
    );
    assert_eq!(found(&eve, "otter").await, 0);
    let recall = json!({"conversation": ack["conversation"], "seq": ack["seq"]});
    assert!(from.request("recall", recall).await["ok"].is_object());
    assert_eq!(found(&bob, "otter").await, 0);
}

#[tokio::test]
async fn a_thumbnail_is_small_upright_and_keeps_what_is_see_through() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    for (bytes, mime, shown, small, alpha) in [
        (
            steps::jpeg(1000, 10),
            "image/jpeg",
            (1000, 10),
            (320, 3),
            false,
        ),
        (
            steps::jpeg_on_its_side(400, 200),
            "image/jpeg",
            (200, 400),
            (160, 320),
            false,
        ),
        (
            steps::see_through(640, 640),
            "image/png",
            (640, 640),
            (320, 320),
            true,
        ),
        (steps::see_through(5, 4), "image/png", (5, 4), (5, 4), true),
    ] {
        let media = uploaded(&server, &ann, "a", mime, bytes).await;
        assert_eq!(
            (&media["width"], &media["height"]),
            (&json!(shown.0), &json!(shown.1))
        );
        let (status, bytes) = fetch(&server, &ann, &media["thumb"]).await;
        assert_eq!(status, 200);
        let thumb = image::load_from_memory(&bytes).expect("a picture");
        assert_eq!((thumb.width(), thumb.height()), small);
        assert_eq!(thumb.color().has_alpha(), alpha);
    }
}
