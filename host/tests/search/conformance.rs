//! What every search engine must do, whatever it is made of: run on each with `conforms`.
//! It sees an engine by its seam only.

use std::sync::Arc;

use kith::ids::{ConversationId, EntryId, UserId};
use kith::search::embedded::EmbeddedSearch;
use kith::search::terms;
use kith::search::{Document, IndexChange, Mark, Order, Query, Room, Search};
use kith::store::feed::FeedPosition;

const HERE: ConversationId = ConversationId(0xa_0000_0000_0000_0001);
const THERE: ConversationId = ConversationId(0xa_0000_0000_0000_0002);

/// Says how it went by panicking.
pub async fn conforms(engine: Arc<dyn Search>) {
    assert!(engine.find(query("a")).await.is_err(), "not open yet");
    assert_eq!(engine.open().await.expect("opens"), None, "empty");
    what_matches(&*engine).await;
    filters(&*engine).await;
    orders(&*engine).await;
    changes(&*engine).await;
    positions(&*engine).await;
}

fn document(id: u64, texts: &[&str]) -> Document {
    Document {
        id: EntryId(id << 20),
        conversation: HERE,
        seq: id,
        from: UserId(1),
        texts: texts.iter().map(|text| (*text).to_owned()).collect(),
    }
}

fn query(words: &str) -> Query {
    Query {
        terms: terms::terms(words),
        rooms: [HERE, THERE]
            .map(|conversation| Room {
                conversation,
                from: 1,
            })
            .into(),
        from: None,
        after_ms: None,
        before_ms: None,
        order: Order::Newest,
        below: None,
        limit: 100,
    }
}

/// Begins anew with these changes.
async fn fresh(engine: &dyn Search, changes: Vec<IndexChange>) {
    engine.clear().await.expect("cleared");
    put(engine, changes).await;
}

async fn put(engine: &dyn Search, changes: Vec<IndexChange>) {
    engine.apply(changes).await.expect("applied");
    engine
        .commit(&FeedPosition("here".into()), 1)
        .await
        .expect("committed");
}

async fn seqs(engine: &dyn Search, query: Query) -> Vec<u64> {
    let found = engine.find(query).await.expect("found");
    found.iter().map(|candidate| candidate.seq).collect()
}

/// An engine may give too much and never too little: what it gives is held against the rule here as by whoever asks.
async fn what_matches(engine: &dyn Search) {
    let texts: [&[&str]; 12] = [
        &["我们明天在北京市长安街见面"],
        &["The March budget is ready"],
        &["三月预算 BUDGET"],
        &["预算.pdf", "march"],
        &["北 京"],
        &["哈哈哈哈哈"],
        &["ｱｲｳ ＦＵＬＬＷＩＤＴＨ"],
        &["caf\u{e9} na\u{ef}ve"],
        &["用kube部署Kubernetes"],
        &["好👍🏽的"],
        &["한국어를 배우다"],
        &["don't stop 3.14 user@example.org"],
    ];
    let documents = texts.iter().zip(1..);
    let documents: Vec<_> = documents
        .map(|(texts, id)| IndexChange::Add(document(id, texts)))
        .collect();
    fresh(engine, documents).await;
    let all: String = texts
        .iter()
        .flat_map(|texts| texts.iter().copied())
        .collect::<Vec<_>>()
        .join(" ");
    let chars: Vec<char> = all.chars().collect();
    let mut queries: Vec<String> = [
        "budget march",
        "MARCH",
        "京",
        "市长",
        "cafe\u{301}",
        "fullwidth",
        "アイ",
        "nothing",
        "kubernetes 部署",
        "北京 budget",
        "哈哈哈哈哈哈",
    ]
    .map(str::to_owned)
    .into();
    for length in 1..5 {
        queries.extend(
            chars
                .windows(length)
                .map(|window| window.iter().collect::<String>()),
        );
    }
    for words in queries {
        let asked = terms::terms(&words);
        if asked.is_empty() {
            continue;
        }
        let mut expected: Vec<u64> = (1..)
            .zip(&texts)
            .filter(|(_, texts)| terms::find(&asked, texts).is_some())
            .map(|(id, _)| id)
            .collect();
        expected.reverse();
        let mut found = seqs(engine, query(&words)).await;
        found.retain(|seq| terms::find(&asked, texts[*seq as usize - 1]).is_some());
        assert_eq!(found, expected, "{words:?}");
    }
}

async fn filters(engine: &dyn Search) {
    let changes = (1..=20_u64).map(|id| {
        let mut document = document(id, &["the same text"]);
        document.from = UserId(id % 2);
        document.conversation = if id % 3 == 0 { THERE } else { HERE };
        IndexChange::Add(document)
    });
    fresh(engine, changes.collect()).await;
    let room = |conversation, from| vec![Room { conversation, from }];
    let there = Query {
        rooms: room(THERE, 1),
        ..query("same")
    };
    assert_eq!(seqs(engine, there.clone()).await, [18, 15, 12, 9, 6, 3]);
    let from = Query {
        from: Some(UserId(1)),
        ..there.clone()
    };
    assert_eq!(seqs(engine, from).await, [15, 9, 3]);
    let between = Query {
        after_ms: Some(6),
        before_ms: Some(12),
        ..there.clone()
    };
    assert_eq!(seqs(engine, between).await, [12, 9, 6], "inclusive");
    let late = Query {
        rooms: room(THERE, 10),
        ..query("same")
    };
    assert_eq!(seqs(engine, late).await, [18, 15, 12], "visible from a seq");
    let nowhere = Query {
        rooms: Vec::new(),
        ..query("same")
    };
    assert!(seqs(engine, nowhere).await.is_empty());
    let without_words = Query {
        from: Some(UserId(0)),
        ..query("")
    };
    assert_eq!(seqs(engine, without_words).await.len(), 10);
    // Far more conversations than anybody names one by one.
    let many = (0..5000_u128).map(|n| Room {
        conversation: ConversationId((n + 10) << 64 | (n + 10)),
        from: 1,
    });
    let many = Query {
        rooms: many.chain(room(THERE, 1)).collect(),
        ..query("same")
    };
    assert_eq!(seqs(engine, many).await.len(), 6);
}

async fn orders(engine: &dyn Search) {
    let texts = [
        "rust",
        "rust rust rust",
        "some long story in which rust occurs once and never again",
        "rust rust",
    ];
    for order in [Order::Newest, Order::Best] {
        let documents = (1..)
            .zip(texts)
            .map(|(id, text)| IndexChange::Add(document(id, &[text])));
        fresh(engine, documents.collect()).await;
        let all = Query {
            order,
            ..query("rust")
        };
        let ranked = seqs(engine, all).await;
        match order {
            Order::Newest => assert_eq!(ranked, [4, 3, 2, 1]),
            Order::Best => assert_eq!((ranked.len(), ranked.last()), (4, Some(&3)), "{ranked:?}"),
        }
        let mut seen = paged(engine, order).await;
        seen.retain(|seq| *seq < 100);
        assert_eq!(seen, ranked, "{order:?}");
    }
}

/// Everything, a page of one after another; something new comes between the pages.
async fn paged(engine: &dyn Search, order: Order) -> Vec<u64> {
    let (mut below, mut seen): (Option<Mark>, Vec<u64>) = (None, Vec::new());
    for page in 0.. {
        let asked = Query {
            order,
            below,
            limit: 1,
            ..query("rust")
        };
        let found = engine.find(asked).await.expect("found");
        let Some(last) = found.last() else { break };
        assert!(!seen.contains(&last.seq), "{} twice", last.seq);
        below = Some(last.mark);
        seen.push(last.seq);
        if page < 3 {
            let new = document(100 + page, &["rust in between", "rust"]);
            put(engine, vec![IndexChange::Add(new)]).await;
        }
    }
    seen
}

fn removal(id: u64) -> IndexChange {
    let Document {
        id,
        conversation,
        seq,
        ..
    } = document(id, &[]);
    IndexChange::Remove {
        id,
        conversation,
        seq,
    }
}

async fn changes(engine: &dyn Search) {
    let documents = (1..=9).map(|id| IndexChange::Add(document(id, &["first words"])));
    fresh(engine, documents.collect()).await;
    assert_eq!(engine.removed_at(), None);
    let replaced = vec![
        IndexChange::Replace(document(3, &["other words"])),
        IndexChange::Replace(document(30, &["new words"])),
        removal(4),
        removal(40),
    ];
    put(engine, replaced).await;
    assert_eq!(
        seqs(engine, query("words")).await,
        [30, 9, 8, 7, 6, 5, 3, 2, 1]
    );
    assert_eq!(seqs(engine, query("other")).await, [3]);
    assert_eq!(engine.removed_at(), Some(1));
    let mut elsewhere = document(2, &["words elsewhere"]);
    (elsewhere.conversation, elsewhere.id) = (THERE, EntryId(50 << 20));
    let erased = vec![
        IndexChange::Add(elsewhere),
        IndexChange::RemoveBelow {
            conversation: HERE,
            below: 8,
        },
    ];
    put(engine, erased).await;
    assert_eq!(seqs(engine, query("words")).await, [2, 30, 9, 8]);
    engine.purge().await.expect("purged");
    assert_eq!(engine.removed_at(), None);
    assert_eq!(seqs(engine, query("words")).await, [2, 30, 9, 8]);
    put(engine, vec![IndexChange::RemoveConversation(HERE)]).await;
    assert_eq!(seqs(engine, query("words")).await, [2]);
}

async fn positions(engine: &dyn Search) {
    let at = |text: &str| FeedPosition(text.into());
    fresh(engine, vec![IndexChange::Add(document(1, &["kept"]))]).await;
    engine.commit(&at("far"), 1).await.expect("committed");
    let unsaid = vec![IndexChange::Add(document(2, &["kept"]))];
    engine.apply(unsaid).await.expect("applied");
    assert_eq!(seqs(engine, query("kept")).await, [1], "not committed");
    engine.close().await;
    assert!(engine.find(query("kept")).await.is_err(), "closed");
    assert_eq!(engine.open().await.expect("opens"), Some(at("far")));
    assert_eq!(
        seqs(engine, query("kept")).await,
        [1],
        "lost with the commit that never came"
    );
    engine.clear().await.expect("cleared");
    assert!(seqs(engine, query("kept")).await.is_empty());
    engine.close().await;
    assert_eq!(engine.open().await.expect("opens"), None);
}

#[tokio::test]
async fn the_embedded_index_does_what_every_engine_must() {
    let folder = tempfile::tempdir().expect("a folder");
    conforms(Arc::new(EmbeddedSearch::new(&folder.path().join("search")))).await;
}
