//! What a log says, as texts without the ids and stamps it makes itself.
//! Compares nothing.

use std::time::Duration;

use kith::conversation::{Member, Summary};
use kith::entry::{Entry, Seq};
use kith::store::feed::{FeedItem, FeedPosition};
use kith::store::groups::MemberRow;
use kith::store::{CommitError, FirstAnswer, Outcome, Span};

use super::Twin;
use super::made_up::{MEDIA, NAMESPACES, Source, USERS};

const PATIENCE: Duration = Duration::from_secs(30);

pub fn entry(entry: &Entry) -> String {
    let Entry {
        seq,
        at,
        from,
        body,
        audience,
        ..
    } = entry;
    format!("{seq} at {at} from {from}: {body:?} for {audience:?}")
}

fn member(member: &Member) -> Member {
    Member {
        changed: 0,
        profile_changed: 0,
        receipt_changed: 0,
        left: member.left.map(|_| 1),
        ..member.clone()
    }
}

fn rows(rows: &[MemberRow]) -> String {
    let plain: Vec<_> = rows.iter().map(|(user, row)| (user, member(row))).collect();
    format!("{plain:?}")
}

fn first_answer(first: &FirstAnswer) -> String {
    match first {
        FirstAnswer::Committed { seq, replaced, .. } => format!("committed {seq} {replaced:?}"),
        FirstAnswer::Held { .. } => "held".to_owned(),
        other => format!("{other:?}"),
    }
}

pub fn outcome(result: &Result<Outcome, CommitError>) -> String {
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(error) => return format!("{error:?}"),
    };
    match outcome {
        Outcome::Committed(committed) => {
            let released = committed.released.is_some();
            let (replaced, opened) = (committed.replaced, committed.opened);
            let entry = entry(&committed.entry);
            format!("{entry} {replaced} {opened} {released}")
        }
        Outcome::Resent(first) => format!("resent {}", first_answer(first)),
        Outcome::Held { at, .. } => format!("held at {at}"),
        Outcome::Refused(held) => format!("refused {:?} {:?}", held.refused, held.hold.content),
        Outcome::Member {
            member: row,
            moved,
            head,
        } => format!("{:?} {moved} {head}", member(row)),
        Outcome::Group(done) => {
            let entries: Vec<String> = done.entries.iter().map(|one| entry(one)).collect();
            let group = done.conversation.group.as_ref();
            let group = group.map(|group| (group.members, group.waiting, group.owner));
            format!(
                "{entries:?} {:?} {:?} {:?} {} {} {group:?}",
                done.joined,
                done.left,
                done.touched,
                done.shown,
                done.request.is_some()
            )
        }
        Outcome::Erased { floor, done, .. } => format!("erased {floor} {done}"),
        Outcome::Kv(versions) => format!("{} versions", versions.len()),
        other => format!("{other:?}"),
    }
}

fn summary(summary: &Summary) -> String {
    let last = summary.last.as_ref().map(|last| entry(last));
    format!(
        "{} {} head {} unread {} mentions {} at {} {:?} {:?} {last:?}",
        summary.conversation.id,
        summary.conversation.title,
        summary.head,
        summary.unread,
        summary.mentions,
        summary.updated_at,
        summary.peer,
        member(&summary.member),
    )
}

/// Everything that can be read, each as a text.
pub async fn everything(twin: &mut Twin, source: &Source, now_ms: u64) -> Vec<String> {
    let mut told = Vec::new();
    for (id, _) in source.conversations() {
        for user in USERS {
            let standing = twin.log.standing(id, user).await.expect("a read");
            told.push(format!(
                "{id} {user}: {:?}",
                standing.map(|standing| (
                    standing.member.as_ref().map(member),
                    (standing.head, standing.floor),
                    (standing.unanswered, standing.answered),
                ))
            ));
            let span = Span {
                limit: 500,
                ..Span::default()
            };
            let page = twin.log.page(id, user, span).await.expect("a page");
            let entries: Vec<String> = page.entries.iter().map(|one| entry(one)).collect();
            told.push(format!("{} {} {entries:?}", page.head, page.floor));
            let one = twin.log.summary(id, user).await.expect("a read");
            told.push(format!("{:?}", one.as_ref().map(summary)));
        }
        told.extend(of_members(twin, id).await);
        told.extend(of_entries(twin, id, now_ms).await);
    }
    told.extend(of_users(twin).await);
    told.extend(of_the_rest(twin).await);
    told
}

async fn of_members(twin: &Twin, id: kith::ids::ConversationId) -> Vec<String> {
    let log = &twin.log;
    let roster = log.roster(id).await.expect("a read");
    let page = log
        .member_page(id, Some(USERS[0]), 3)
        .await
        .expect("a page");
    let among = log.members_among(id, &USERS[1..4]).await.expect("a read");
    let requests = log.join_requests(id, None, 10).await.expect("a read");
    let requests: Vec<_> = requests.iter().map(|one| (one.user, &one.text)).collect();
    vec![
        format!("{:?}", log.members(id).await.expect("a read")),
        format!("{roster:?}"),
        rows(&page),
        rows(&among),
        format!("{requests:?}"),
    ]
}

async fn of_entries(twin: &Twin, id: kith::ids::ConversationId, now_ms: u64) -> Vec<String> {
    let mut told = Vec::new();
    for seq in [1, 3, 8] {
        if let Some((one, record)) = twin.log.entry(id, seq).await.expect("a read") {
            let readers = twin.log.readers(&one, None, 2).await.expect("a read");
            told.push(format!("{} {record:?} {readers:?}", entry(&one)));
        }
    }
    let since = now_ms.saturating_sub(20_000);
    let first = twin.log.first_since(id, 1, since, 5).await.expect("a read");
    told.push(format!("first since {first}"));
    let judged = twin.judged.judged_between(id, (1, 30)).await;
    for one in judged.expect("a read") {
        let (edits, recalled): (&[Seq], Seq) = (&one.edits, one.recalled_by);
        told.push(format!("{} {edits:?} {recalled}", entry(&one.entry)));
    }
    told
}

async fn of_users(twin: &mut Twin) -> Vec<String> {
    let mut told = Vec::new();
    for (at, user) in USERS.into_iter().enumerate() {
        let mut cursor = None;
        loop {
            let page = twin.log.summaries(user, cursor.as_deref(), 2).await;
            let (page, next) = page.expect("a page");
            told.extend(page.iter().map(summary));
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        let all = twin.log.conversations_of(user).await.expect("a read");
        told.push(format!("{all:?}"));
        let direct = twin.log.direct_conversations(user, None, 5).await;
        told.push(format!("{:?}", direct.expect("a read")));
        loop {
            let changes = twin.log.changes(user, &twin.tokens[at], 2).await;
            let changes = changes.expect("changes");
            assert!(!changes.reset);
            told.extend(changes.changed.iter().map(summary));
            told.push(format!("gone {:?}", changes.gone));
            twin.tokens[at] = changes.since;
            if !changes.more {
                break;
            }
        }
    }
    told
}

async fn of_the_rest(twin: &Twin) -> Vec<String> {
    let mut told = Vec::new();
    let held = twin.log.held_page(None, None, 100).await.expect("a page");
    for held in held {
        let content = held.hold.content.get();
        told.push(format!("{} {content} {:?}", held.at, held.refused));
    }
    let (extents, last) = twin.log.extents(None, 10, true).await.expect("a read");
    for extent in extents {
        let id = extent.conversation.id;
        told.push(format!("{id} {} {} {last:?}", extent.floor, extent.head));
    }
    for media in MEDIA {
        let used = twin.log.media_used(media).await.expect("a read");
        told.push(format!("{media} used {used}"));
        for user in USERS {
            let readable = twin.log.media_readable(media, user).await;
            told.push(format!("{user} {}", readable.expect("a read")));
        }
    }
    told.push(format!(
        "{:?}",
        twin.log.media_left(10).await.expect("a read")
    ));
    for namespace in NAMESPACES {
        let page = twin.kv.kv_page(namespace, "", (100, 10_000)).await;
        let page: Vec<_> = page
            .expect("a page")
            .into_iter()
            .map(|(key, item)| (key, item.value, item.expires_at))
            .collect();
        // The same at once, in another order, and one that is not there.
        let mut named: Vec<String> = page.iter().rev().map(|(key, ..)| key.clone()).collect();
        named.push("nowhere".to_owned());
        let items = twin.kv.kv_of(namespace, &named).await.expect("values");
        let values = items
            .iter()
            .map(|item| item.as_ref().map(|item| &item.value));
        let mut wanted: Vec<_> = page.iter().rev().map(|(_, value, _)| Some(value)).collect();
        wanted.push(None);
        assert_eq!(values.collect::<Vec<_>>(), wanted);
        let keys = twin.kv.kv_keys(namespace, "k", "k0", 2).await;
        let used = twin.kv.kv_used(namespace).await.expect("a read");
        let refused = twin.kv.kv_refused(namespace);
        told.push(format!(
            "{page:?} {:?} {used} {refused}",
            keys.expect("keys")
        ));
    }
    told
}

/// The whole feed, conversation by conversation; once it has so many items, where that is known.
pub async fn feed(twin: &Twin, count: Option<usize>) -> Vec<String> {
    let mut commits = twin.feed.commits();
    loop {
        let (mut told, mut at) = (Vec::<String>::new(), FeedPosition::default());
        loop {
            let page = twin.feed.feed(&at, 50).await.expect("a page");
            told.extend(page.items.iter().map(item));
            at = page.next;
            if !page.more {
                break;
            }
        }
        if count.is_none_or(|count| told.len() >= count) {
            // How two conversations stand to each other is for each engine to say.
            told.sort_by_key(|told| told.split(' ').next().map(str::to_owned));
            return told;
        }
        let news = tokio::time::timeout(PATIENCE, commits.changed()).await;
        news.expect("news in time").expect("an open log");
    }
}

fn item(item: &FeedItem) -> String {
    match item {
        FeedItem::Entry(one) => format!("{} {}", one.conversation, entry(one)),
        FeedItem::Erased {
            conversation,
            below,
        } => format!("{conversation} erased below {below}"),
        FeedItem::Gone { conversation } => format!("{conversation} gone"),
    }
}
