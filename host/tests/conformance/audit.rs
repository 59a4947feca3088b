//! What the audit log promises: lines by rising ids, read both ways and by their actions, and together with the generation
//! they tell of.

use std::sync::Arc;

use kith::store::accounts::{Accounts, AuditLine, AuditQuery, StoredGeneration};
use serde_json::json;

use super::tables;

type Opened = tables::Opened<dyn Accounts>;

fn line(action: &str) -> AuditLine {
    AuditLine {
        at: 7,
        actor: "ann".to_owned(),
        action: action.to_owned(),
        subject: "words".to_owned(),
        ..AuditLine::default()
    }
}

async fn actions(accounts: &Arc<dyn Accounts>, query: AuditQuery) -> Vec<String> {
    let page = accounts.audit_page(&query).await.expect("a read");
    page.into_iter().map(|entry| entry.line.action).collect()
}

pub async fn lines_are_read_both_ways_and_by_their_actions(open: Opened) {
    let (accounts, _kept) = &open;
    for action in ["plugin.push", "ban.add", "plugin.activate", "pluginx"] {
        accounts.audit(&line(action)).await.expect("a write");
    }
    let query = |after, before, prefix: &str, limit| AuditQuery {
        after,
        before,
        prefix: prefix.to_owned(),
        limit,
    };
    let newest = query(None, None, "", 2);
    assert_eq!(
        actions(accounts, newest).await,
        ["pluginx", "plugin.activate"]
    );
    let all = query(Some(0), None, "plugin.", 10);
    assert_eq!(
        actions(accounts, all).await,
        ["plugin.push", "plugin.activate"]
    );
    let page = accounts.audit_page(&query(Some(0), None, "", 10)).await;
    let ids: Vec<u64> = page.expect("a read").iter().map(|entry| entry.id).collect();
    assert!(ids.windows(2).all(|two| two[0] < two[1]), "{ids:?}");
    let middle = query(Some(ids[0]), Some(ids[3]), "", 10);
    assert_eq!(
        actions(accounts, middle).await,
        ["ban.add", "plugin.activate"]
    );
    assert_eq!(
        actions(accounts, query(Some(ids[3]), None, "", 10)).await,
        [""; 0]
    );
    assert_eq!(
        actions(accounts, query(Some(u64::MAX), None, "", 10)).await,
        [""; 0]
    );
}

pub async fn a_generation_and_its_lines_are_kept_together(open: Opened) {
    let (accounts, _kept) = &open;
    let mut audited = accounts.audited();
    let before = *audited.borrow_and_update();
    let told = AuditLine {
        from: Some("1".to_owned()),
        to: Some("2".to_owned()),
        detail: Some(json!({"generation": 3})),
        ..line("plugin.activate")
    };
    let stored = StoredGeneration {
        number: 3,
        bindings: "{}".to_owned(),
        at: 7,
        cause: "a test".to_owned(),
    };
    let both = accounts.put_generation(&stored, std::slice::from_ref(&told));
    both.await.expect("a write");
    assert!(
        *audited.borrow_and_update() > before,
        "whoever follows is told"
    );
    let query = AuditQuery {
        after: Some(before),
        limit: 10,
        ..AuditQuery::default()
    };
    let page = accounts.audit_page(&query).await.expect("a read");
    assert_eq!(page.len(), 1);
    assert_eq!(page[0].line, told);
    // A number is given once: neither the generation nor its line is kept twice.
    let again = accounts.put_generation(&stored, std::slice::from_ref(&told));
    assert!(again.await.is_err());
    let page = accounts.audit_page(&query).await.expect("a read");
    assert_eq!(page.len(), 1);
}

pub async fn lines_written_at_once_have_numbers_of_their_own(open: Opened) {
    let (accounts, _kept) = &open;
    let mut audited = accounts.audited();
    let before = *audited.borrow_and_update();
    let writes = (0..12).map(|n| {
        let accounts = accounts.clone();
        tokio::spawn(async move { accounts.audit(&line(&format!("line.{n}"))).await })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.expect("it ends").expect("a write");
    }
    let query = AuditQuery {
        after: Some(before),
        limit: 100,
        ..AuditQuery::default()
    };
    let page = accounts.audit_page(&query).await.expect("a read");
    assert_eq!(page.len(), 12);
    assert!(page.windows(2).all(|two| two[0].id < two[1].id));
    let newest = page.last().map(|entry| entry.id);
    assert_eq!(Some(*audited.borrow_and_update()), newest);
}
