//! What every store of bans, labels, notices and wishes promises, whichever engine keeps it. Each function is one promise;
//! it knows the seam alone.

use kith::ids::{ConversationId, UserId};
use kith::store::moderation::{BanKind, Moderation, NewAdminNotice, NewBan, NewHandover, Wish};

use super::tables;

type Opened = tables::Opened<dyn Moderation>;

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

pub async fn a_ban_is_one_of_its_kind_and_subject((store, _kept): Opened) {
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

pub async fn a_lifted_ban_is_gone((store, _kept): Opened) {
    let new = ban(BanKind::Address, "192.0.2.1", None);
    let id = store.put_ban(&new).await.expect("a write");
    assert!(store.remove_ban(id).await.expect("a write"));
    assert!(!store.remove_ban(id).await.expect("a write"));
    assert!(store.bans(0).await.expect("a read").is_empty());
}

pub async fn labels_are_a_users_own((store, _kept): Opened) {
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

pub async fn notices_page_backwards((store, _kept): Opened) {
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

pub async fn a_wish_is_seconded_by_another_and_once((store, _kept): Opened) {
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

pub async fn a_ban_that_is_over_makes_room_for_another((store, _kept): Opened) {
    let over = ban(BanKind::Speech, "11", Some(50));
    let first = store.put_ban(&over).await.expect("a write");
    let new = ban(BanKind::Speech, "11", None);
    let second = store.put_ban(&new).await.expect("a write");
    assert!(second > first, "it is another ban");
    let kept = store.bans(0).await.expect("a read");
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].made, new);
    assert!(!store.remove_ban(first).await.expect("a write"));
}

fn notice(at: u64, text: &str) -> NewAdminNotice {
    NewAdminNotice {
        at,
        by: "warden".to_owned(),
        text: text.to_owned(),
        user: None,
    }
}

pub async fn a_notice_is_told_once((store, _kept): Opened) {
    let told = async |notice: &NewAdminNotice| {
        let id = store.put_admin_notice(notice).await;
        id.expect("a write")
    };
    let first = told(&notice(1, "one")).await;
    let second = told(&notice(1, "two")).await;
    assert_eq!(told(&notice(1, "one")).await, first);
    let later = told(&notice(2, "one")).await;
    assert!(first < second && second < later);
    let kept = store.admin_notices(None, 10).await.expect("a read");
    let ids: Vec<u64> = kept.iter().map(|kept| kept.id).collect();
    assert_eq!(ids, [later, second, first]);
}

pub async fn a_conversation_is_handed_over_once_with_its_notice((store, _kept): Opened) {
    let handover = |conversation: u128, account: UserId| NewHandover {
        conversation: ConversationId(conversation << 64),
        account,
        plugin: "helper".to_owned(),
        reason: "asked for".to_owned(),
        seq: 7,
        at: 100,
    };
    let over = async |made: &NewHandover, text: &str| {
        let kept = store.hand_over(made, &notice(100, text)).await;
        kept.expect("a write")
    };
    let (first, second) = (handover(1, ANN), handover(2, ANN));
    assert!(over(&first, "one").await);
    assert!(!over(&first, "again").await);
    assert!(over(&second, "two").await);
    assert!(over(&handover(1, BOB), "three").await);
    let texts: Vec<_> = store
        .admin_notices(None, 10)
        .await
        .expect("a read")
        .into_iter()
        .map(|kept| kept.told.text)
        .collect();
    assert_eq!(texts, ["three", "two", "one"]);
    let is_over = async |made: &NewHandover| {
        let found = store.is_handed_over(made.conversation, made.account).await;
        found.expect("a read")
    };
    assert!(is_over(&first).await);
    assert!(!is_over(&handover(3, ANN)).await);
    let page = store.handovers(None, 2).await.expect("a read");
    assert_eq!(page[1].made, second);
    let rest = store.handovers(Some(page[1].id), 9).await.expect("a read");
    assert_eq!(rest.len(), 1);
    let back = store.give_back(rest[0].id).await.expect("a write");
    assert_eq!(back.as_ref(), Some(&rest[0]));
    assert_eq!(back.map(|back| back.made), Some(first.clone()));
    assert!(!is_over(&first).await);
    let again = store.give_back(rest[0].id).await.expect("a write");
    assert_eq!(again, None);
    assert!(over(&first, "anew").await);
}

pub async fn of_two_who_wish_at_once_one_seconds((store, _kept): Opened) {
    for round in 0..8 {
        let wish = |actor: &str| Wish {
            action: "user.disable".to_owned(),
            subject: format!("user {round}"),
            actor: actor.to_owned(),
            at: 5,
        };
        let (first, other) = (wish("first"), wish("other"));
        let both = tokio::join!(store.second(&first, 0), store.second(&other, 0));
        let (one, other) = (both.0.expect("a write"), both.1.expect("a write"));
        assert!(one != other, "one wished first, the other one second");
    }
}
