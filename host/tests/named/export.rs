//! The route that gives everything away, by its name. What is in the file is in `moving`.
//! No other routes.

use super::World;
use crate::support::BOOTSTRAP;

#[tokio::test]
async fn get_admin_v1_export() {
    let world = World::bare().await;
    world.direct().await;
    for token in ["none", &world.ann.token] {
        let request = world.server.http.get(world.server.admin_url("/export"));
        let answer = request.bearer_auth(token).send().await.expect("an answer");
        assert_eq!(answer.status(), 401);
    }
    world.admin(400, "GET /export?media=maybe", None).await;
    let request = world.server.http.get(world.server.admin_url("/export"));
    let answer = request
        .bearer_auth(BOOTSTRAP)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("export");
    std::fs::write(&file, answer.bytes().await.expect("a file")).expect("writes");
    let contents = kith::moving::import::check(&file, |_| {}).expect("a whole file");
    assert_eq!(contents.end.records["users"], 3);
    assert_eq!(contents.end.records["entries"], 1);
}
