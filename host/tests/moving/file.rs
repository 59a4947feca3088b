//! What is refused and what goes on: files that were cut or are of others, deployments that are not empty, exports and
//! imports that ended in between.

use std::path::Path;
use std::sync::Arc;

use kith::clock::{Clock, ManualClock};
use kith::moving::export::{self, Export};
use kith::moving::{Deployment, MoveError};
use kith::store::MessageLog;
use kith::store::portable::{Part, PortableLog, Record};
use tempfile::{TempDir, tempdir};

use super::{embedded, exported, imported, imported_while, named, records, same};

/// Bytes of all entries of a made-up log: several frames.
const MUCH: usize = 6 * 1024 * 1024;

/// A log with records that mean nothing, but are many.
async fn filled(folder: &Path) -> (Arc<kith::store::embedded_log::EmbeddedLog>, Deployment) {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(1_790_000_000_000));
    let (log, deployment) = embedded(folder, &clock);
    let record = |number: u64| Record {
        key: [vec![1; 16], number.to_be_bytes().to_vec()].concat(),
        value: number.to_be_bytes().repeat(128),
    };
    for part in [Part::Entries, Part::Answers] {
        let some = (1..=(MUCH / 1024) as u64).map(record).collect();
        log.take(part, some, 5).await.expect("taken");
    }
    log.moved(5).await.expect("moved");
    (log, deployment)
}

async fn cut_after(from: &Deployment, file: &Path, frames: u64) -> MoveError {
    let wish = export::Wish {
        with_media: true,
        now: 7,
    };
    let begun = Export::begin(from, wish).await.expect("begins");
    let mut left = frames;
    let cut = export::to_file(begun, file, |_| {
        left -= 1;
        left > 0
    });
    cut.await.expect_err("stopped")
}

async fn refused(into: &Deployment, file: &Path) -> String {
    imported(into, file).await.expect_err("refused").to_string()
}

struct Scene {
    _here: TempDir,
    there: TempDir,
    files: TempDir,
    log: Arc<kith::store::embedded_log::EmbeddedLog>,
    from: Deployment,
    clock: Arc<dyn Clock>,
}

impl Scene {
    async fn new() -> Self {
        let here = tempdir().expect("a folder");
        let (log, from) = filled(here.path()).await;
        Self {
            log,
            from,
            _here: here,
            there: tempdir().expect("a folder"),
            files: tempdir().expect("a folder"),
            clock: Arc::new(ManualClock::at(1_790_000_000_000)),
        }
    }
}

#[tokio::test]
async fn a_file_that_was_cut_is_refused_before_anything_is_taken_in() {
    let scene = Scene::new().await;
    let file = named(&scene.files, "a");
    exported(&scene.from, &file).await.expect("exported");
    let whole = std::fs::read(&file).expect("reads");
    let (log, into) = embedded(scene.there.path(), &scene.clock);
    for length in [whole.len() - 1, whole.len() / 2, 100, 12, 5] {
        std::fs::write(&file, &whole[..length]).expect("writes");
        let said = refused(&into, &file).await;
        assert!(
            said.contains("not whole") || said.contains("no file that"),
            "{said}"
        );
    }
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    std::fs::write(&file, &changed).expect("writes");
    assert!(refused(&into, &file).await.contains("damaged"));
    let mut newer = whole.clone();
    newer[8] = 99;
    std::fs::write(&file, &newer).expect("writes");
    assert!(refused(&into, &file).await.contains("version 99"));
    assert_eq!(log.holds_already().await.expect("a read"), None);
    assert_eq!(log.moving().await.expect("a read"), None);
    std::fs::write(&file, &whole).expect("writes");
    imported(&into, &file).await.expect("imported");
}

#[tokio::test]
async fn a_deployment_that_holds_something_is_refused_by_its_name() {
    let scene = Scene::new().await;
    let file = named(&scene.files, "a");
    exported(&scene.from, &file).await.expect("exported");
    let said = refused(&scene.from, &file).await;
    assert!(said.contains("message log hold entries"), "{said}");
    let (_, into) = embedded(scene.there.path(), &scene.clock);
    let users = kith::store::portable::tables::named("secrets").expect("a table");
    let row = vec![
        kith::store::portable::tables::Cell::Text("key".to_owned()),
        kith::store::portable::tables::Cell::Bytes(vec![1]),
    ];
    into.accounts
        .take_rows(users, vec![row])
        .await
        .expect("taken");
    let said = refused(&into, &file).await;
    assert!(said.contains("accounts hold secrets"), "{said}");
}

#[tokio::test]
async fn an_export_that_was_stopped_goes_on_in_its_file() {
    let scene = Scene::new().await;
    let (whole, parts) = (named(&scene.files, "whole"), named(&scene.files, "parts"));
    let all = exported(&scene.from, &whole).await.expect("exported");
    assert!(all.end.frames > 20, "{:?}", all.end);
    for frames in [1, 3, 9, all.end.frames - 2] {
        let _ = std::fs::remove_file(&parts);
        let said = cut_after(&scene.from, &parts, frames).await.to_string();
        assert!(said.contains("goes on"), "{said}");
        // And what was written last was not written whole.
        let written = std::fs::metadata(&parts).expect("a file").len();
        let cut = std::fs::OpenOptions::new().write(true).open(&parts);
        cut.expect("opens").set_len(written - 3).expect("cut");
        let rest = exported(&scene.from, &parts).await.expect("goes on");
        assert_eq!(rest.end, all.end);
    }
    let said = exported(&scene.from, &parts)
        .await
        .expect_err("whole already");
    assert!(said.to_string().contains("whole export already"), "{said}");
    let (log, into) = embedded(scene.there.path(), &scene.clock);
    imported(&into, &parts).await.expect("imported");
    same(&records(&*scene.log).await, &records(&*log).await);
}

#[tokio::test]
async fn an_export_does_not_go_on_from_another_state() {
    let scene = Scene::new().await;
    let file = named(&scene.files, "a");
    cut_after(&scene.from, &file, 4).await;
    scene
        .log
        .moved(6)
        .await
        .expect("as if something had been committed");
    let said = exported(&scene.from, &file).await.expect_err("refused");
    assert!(said.to_string().contains("another state"), "{said}");
}

#[tokio::test]
async fn an_import_that_ended_goes_on_from_where_it_was_and_nothing_else_is_let_in() {
    let scene = Scene::new().await;
    let (file, other) = (named(&scene.files, "a"), named(&scene.files, "b"));
    let all = exported(&scene.from, &file).await.expect("exported");
    exported(&scene.from, &other).await.expect("exported");
    let mut before = 0;
    for stop in [1, 5, 4] {
        let (log, into) = embedded(scene.there.path(), &scene.clock);
        let said = imported_while(&into, &file, |frames| frames < stop).await;
        assert!(said.expect_err("stopped").to_string().contains("goes on"));
        let moving = log.moving().await.expect("a read").expect("under way");
        before += stop;
        assert_eq!(moving.frames, before);
        let said = refused(&into, &other).await;
        assert!(said.contains("another file"), "{said}");
        log.close().await;
    }
    let (log, into) = embedded(scene.there.path(), &scene.clock);
    let done = imported(&into, &file).await.expect("to its end");
    assert_eq!((done.found, done.contents.end), (before, all.end));
    assert_eq!(log.moving().await.expect("a read"), None);
    same(&records(&*scene.log).await, &records(&*log).await);
    let said = refused(&into, &file).await;
    assert!(said.contains("not empty"), "{said}");
}

#[tokio::test]
async fn a_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new().await;
    let file = named(&scene.files, "a");
    exported(&scene.from, &file).await.expect("exported");
    let mode = std::fs::metadata(&file)
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}
