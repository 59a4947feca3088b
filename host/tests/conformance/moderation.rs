//! What every store of bans, labels, notices and wishes promises, whichever engine keeps it. Each function is one promise;
//! it knows the seam alone.

use std::sync::Arc;

use kith::ids::UserId;
use kith::store::moderation::{BanKind, Moderation, NewAdminNotice, NewBan, Wish};
use tempfile::TempDir;

/// The store, and what has to live as long.
type Opened = (Arc<dyn Moderation>, TempDir);

const ANN: UserId = UserId(11);
const BOB: UserId = UserId(22);

fn ban(kind: BanKind, subject: &str, until: Option<u64>) -> NewBan {
    NewBan {
        kind,
        subject: subject.to_owned(),
        until,
        reason: "why".to_owned(),
        by: "admin".to_owned(),
        at: 100,
    }
}

pub async fn a_ban_is_one_of_its_kind_and_subject((store, _folder): Opened) {
    let first = ban(BanKind::User, "11", Some(200));
    let id = store.put_ban(&first).await.expect("a write");
    let other = ban(BanKind::Device, "11", None);
    store.put_ban(&other).await.expect("a write");
    let longer = ban(BanKind::User, "11", Some(300));
    assert_eq!(store.put_ban(&longer).await.expect("a write"), id);
    let kept: Vec<_> = store
        .bans(150)
        .await
        .expect("a read")
        .into_iter()
        .map(|ban| ban.made)
        .collect();
    assert_eq!(kept, [longer, other.clone()]);
    let left = store.bans(300).await.expect("a read");
    assert_eq!(left.len(), 1, "one is over");
    assert_eq!(left[0].made, other);
}

pub async fn a_lifted_ban_is_gone((store, _folder): Opened) {
    let new = ban(BanKind::Address, "192.0.2.1", None);
    let id = store.put_ban(&new).await.expect("a write");
    assert!(store.remove_ban(id).await.expect("a write"));
    assert!(!store.remove_ban(id).await.expect("a write"));
    assert!(store.bans(0).await.expect("a read").is_empty());
}

pub async fn labels_are_a_users_own((store, _folder): Opened) {
    for (user, label) in [(ANN, "vip"), (ANN, "vip"), (ANN, "early"), (BOB, "late")] {
        store.set_label(user, label, true).await.expect("a write");
    }
    let found = store.labels(&[ANN, BOB]).await.expect("a read");
    let own = |user: UserId, label: &str| (user, label.to_owned());
    assert_eq!(
        found,
        [own(ANN, "early"), own(ANN, "vip"), own(BOB, "late")]
    );
    store.set_label(ANN, "vip", false).await.expect("a write");
    let found = store.labels(&[ANN]).await.expect("a read");
    assert_eq!(found, [own(ANN, "early")]);
}

pub async fn notices_page_backwards((store, _folder): Opened) {
    for at in 1..=5 {
        let notice = NewAdminNotice {
            at,
            by: "warden".to_owned(),
            text: format!("notice {at}"),
            user: (at == 5).then_some(ANN),
        };
        store.put_admin_notice(&notice).await.expect("a write");
    }
    let page = store.admin_notices(None, 2).await.expect("a read");
    let told: Vec<_> = page
        .iter()
        .map(|notice| (notice.told.at, notice.told.user))
        .collect();
    assert_eq!(told, [(5, Some(ANN)), (4, None)]);
    let rest = store
        .admin_notices(Some(page[1].id), 9)
        .await
        .expect("a read");
    let told: Vec<_> = rest
        .iter()
        .map(|notice| notice.told.text.as_str())
        .collect();
    assert_eq!(told, ["notice 3", "notice 2", "notice 1"]);
}

pub async fn a_wish_is_seconded_by_another_and_once((store, _folder): Opened) {
    let wish = |actor: &str, at| Wish {
        action: "user.disable".to_owned(),
        subject: "ann".to_owned(),
        actor: actor.to_owned(),
        at,
    };
    let second = async |actor: &str, at, since| {
        let seconded = store.second(&wish(actor, at), since).await;
        seconded.expect("a write")
    };
    assert!(!second("first", 1, 0).await);
    assert!(!second("first", 2, 0).await, "nobody seconds oneself");
    assert!(second("other", 3, 0).await);
    assert!(!second("other", 4, 0).await, "it was done with");
    assert!(!second("first", 20, 10).await, "the other's is too old");
    assert!(second("other", 21, 10).await);
}
