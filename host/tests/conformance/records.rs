//! What every store of reports and of media records promises. Each function is one promise; it knows the seams alone.
//! Nothing here knows what the bytes of an upload are.

use kith::ids::{ConversationId, MediaId, UserId};
use kith::store::accounts::Accounts;
use kith::store::media::{Found, MediaRecord, MediaRecords, MediaState, TicketBounds, Ticketed};
use kith::store::people::{NewReport, People};
use std::sync::Arc;

use super::accounts::{ANN, BOB};
use super::tables::{Kept, Opened};

fn report(n: u64) -> NewReport {
    NewReport {
        at: n,
        reporter: ANN,
        user: (n == 1).then_some(BOB),
        conversation: (n > 1).then_some(ConversationId(u128::from(n) << 100)),
        seq: (n > 1).then_some(n),
        reason: format!("reason {n}"),
        text: (n > 2).then(|| "more".to_owned()),
    }
}

pub async fn reports_page_backwards((people, _kept): Opened<dyn People>) {
    let mut ids = Vec::new();
    for n in 1..=4 {
        ids.push(people.file_report(&report(n)).await.expect("a write"));
    }
    assert!(ids.windows(2).all(|two| two[0] < two[1]), "{ids:?}");
    let page = people.reports(None, 3).await.expect("a read");
    let told: Vec<_> = page
        .iter()
        .map(|kept| (kept.id, kept.filed.clone()))
        .collect();
    let expected = [4, 3, 2].map(|n| (ids[n - 1], report(n as u64)));
    assert_eq!(told, expected);
    let rest = people.reports(Some(page[2].id), 3).await.expect("a read");
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].filed, report(1));
}

type Media = Opened<dyn MediaRecords>;

fn record(id: u64) -> MediaRecord {
    MediaRecord {
        id: MediaId(id),
        owner: ANN,
        name: format!("{id}.png"),
        mime: "image/png".to_owned(),
        bytes: 100,
        sha256: None,
        state: MediaState::Open,
        width: None,
        height: None,
        duration_ms: None,
        thumb: MediaId(id + 1_000_000),
        thumb_mime: None,
        thumb_bytes: 0,
        created_at: 1000,
        expires_at: 2000 + id,
        look_at: Some(2000 + id),
    }
}

fn bounds(open: u64, bytes: u64) -> TicketBounds {
    TicketBounds {
        open,
        bytes,
        since: 500,
        now: 1000,
    }
}

async fn open(media: &Arc<dyn MediaRecords>, record: &MediaRecord) {
    let made = media.open_ticket(record, bounds(100, 1_000_000)).await;
    assert_eq!(made.expect("a write"), Ticketed::Made);
}

async fn known(media: &Arc<dyn MediaRecords>, id: u64) -> Option<Found> {
    media.media(MediaId(id)).await.expect("a read")
}

fn complete(record: &MediaRecord) -> MediaRecord {
    MediaRecord {
        mime: "image/gif".to_owned(),
        bytes: 90,
        sha256: Some([7; 32]),
        state: MediaState::Complete,
        width: Some(640),
        height: Some(480),
        duration_ms: Some(5),
        thumb_mime: Some("image/jpeg".to_owned()),
        thumb_bytes: 9,
        look_at: None,
        ..record.clone()
    }
}

pub async fn an_upload_is_completed_once((media, _kept): Media) {
    let ticket = record(1);
    open(&media, &ticket).await;
    let found = known(&media, 1).await.expect("a ticket");
    assert_eq!((found.record, found.is_thumb), (ticket.clone(), false));
    assert!(
        known(&media, ticket.thumb.0).await.is_none(),
        "no thumbnail yet"
    );
    let done = complete(&ticket);
    assert!(media.complete_media(&done).await.expect("a write"));
    assert!(!media.complete_media(&done).await.expect("a write"));
    assert!(!media.complete_media(&record(2)).await.expect("a write"));
    let found = known(&media, 1).await.expect("a record");
    assert_eq!(found.record, done);
    let thumb = known(&media, ticket.thumb.0).await.expect("a thumbnail");
    assert!(thumb.is_thumb && thumb.record == done);
    media.forget_media(MediaId(1)).await.expect("a write");
    assert!(known(&media, 1).await.is_none());
    assert!(known(&media, ticket.thumb.0).await.is_none());
}

pub async fn nobody_has_more_under_way_than_allowed((media, _kept): Media) {
    let ticket = async |record: &MediaRecord, bounds| {
        let made = media.open_ticket(record, bounds).await;
        made.expect("a write")
    };
    for id in [1, 2] {
        assert_eq!(ticket(&record(id), bounds(2, 1000)).await, Ticketed::Made);
    }
    let full = Ticketed::TooManyOpen { until: 2001 };
    assert_eq!(ticket(&record(3), bounds(2, 1000)).await, full);
    let others = MediaRecord {
        owner: BOB,
        ..record(3)
    };
    assert_eq!(ticket(&others, bounds(2, 1000)).await, Ticketed::Made);
    assert_eq!(
        ticket(&record(4), bounds(9, 299)).await,
        Ticketed::TooManyBytes
    );
    assert_eq!(ticket(&record(4), bounds(9, 300)).await, Ticketed::Made);
    // Tickets that are over make room; bytes asked for long ago do not count.
    let later = TicketBounds {
        now: 3000,
        since: 1000,
        ..bounds(1, 100)
    };
    let young = MediaRecord {
        created_at: 3000,
        expires_at: 4000,
        ..record(5)
    };
    assert_eq!(ticket(&young, later).await, Ticketed::Made);
}

pub async fn bounds_hold_for_many_tickets_at_once((media, _kept): Media) {
    let tries = (1..=8).map(|id| {
        let media = media.clone();
        tokio::spawn(async move { media.open_ticket(&record(id), bounds(3, 1000)).await })
    });
    let mut made = 0;
    for tried in tries.collect::<Vec<_>>() {
        match tried.await.expect("it ends").expect("a write") {
            Ticketed::Made => made += 1,
            other => assert!(matches!(other, Ticketed::TooManyOpen { .. })),
        }
    }
    assert_eq!(made, 3);
}

pub async fn what_is_due_is_looked_at_in_its_order((media, _kept): Media) {
    for id in 1..=4 {
        open(&media, &record(id)).await;
    }
    for id in [2, 3] {
        let done = complete(&record(id));
        assert!(media.complete_media(&done).await.expect("a write"));
    }
    let due = async |now, limit| -> Vec<u64> {
        let due = media.media_due(now, limit).await.expect("a read");
        due.iter().map(|record| record.id.0).collect()
    };
    assert_eq!(due(5000, 10).await, [1, 4]);
    assert_eq!(due(2003, 10).await, [1]);
    let let_go = async |id| {
        media
            .let_go_of_media(MediaId(id), 1500)
            .await
            .expect("a write")
    };
    for id in [3, 4, 99] {
        let_go(id).await;
    }
    assert_eq!(due(5000, 10).await, [3, 1, 4], "an open one keeps its time");
    assert_eq!(due(5000, 2).await, [3, 1]);
    let leaving = media.set_media(MediaId(3), MediaState::Leaving, Some(2500));
    leaving.await.expect("a write");
    let_go(3).await;
    assert_eq!(
        due(5000, 10).await,
        [1, 4, 3],
        "one that leaves keeps its time"
    );
    for (id, state) in [(3, MediaState::Complete), (1, MediaState::Complete)] {
        let set = media.set_media(MediaId(id), state, None).await;
        set.expect("a write");
    }
    assert_eq!(due(5000, 10).await, [1, 4], "an open one is left alone");
    let found = known(&media, 3).await.expect("a record");
    assert_eq!(found.record.state, MediaState::Complete);
}

/// The same tables as media records and as accounts.
pub type Both = (Arc<dyn MediaRecords>, Arc<dyn Accounts>, Kept);

pub async fn an_avatar_that_is_left_is_looked_at((media, accounts, _kept): Both) {
    let new = super::accounts::user(ANN, "ann", "Ann");
    assert!(accounts.create_user(&new).await.expect("a write"));
    let avatar = async |avatar: Option<&str>| {
        let set = accounts.set_profile(ANN, None, Some(avatar)).await;
        set.expect("a write").expect("ann");
    };
    for id in [1, 2] {
        open(&media, &record(id)).await;
        let done = complete(&record(id));
        assert!(media.complete_media(&done).await.expect("a write"));
    }
    let is_avatar = async |id| media.is_avatar(MediaId(id)).await.expect("a read");
    assert!(!is_avatar(1).await);
    avatar(Some("1")).await;
    assert!(is_avatar(1).await && !is_avatar(2).await);
    assert_eq!(media.media_due(1, 10).await.expect("a read"), []);
    avatar(Some("2")).await;
    let due = media.media_due(1, 10).await.expect("a read");
    assert_eq!(due.iter().map(|one| one.id.0).collect::<Vec<_>>(), [1]);
    assert!(!is_avatar(1).await && is_avatar(2).await);
    avatar(None).await;
    assert_eq!(media.media_due(1, 10).await.expect("a read").len(), 2);
    let nobody = accounts.set_profile(UserId(77), None, Some(None)).await;
    assert!(nobody.expect("nothing to do").is_none());
}
