//! The accounts' tables, each with rows made up: through a file and through both engines every one of them comes back, and
//! what is asked of them is answered as before.

use std::sync::Arc;

use kith::clock::{Clock, ManualClock};
use kith::ids::{RequestId, UserId};
use kith::moving::Deployment;
use kith::store::accounts::Accounts;
use kith::store::moderation::Moderation;
use kith::store::mongo::Mongo;
use kith::store::mongo_accounts::MongoAccounts;
use kith::store::people::People;
use kith::store::portable::tables::{Cell, Kind, Row, TABLES, Table};
use kith::store::sqlite_accounts::SqliteAccounts;
use tempfile::tempdir;

use super::{embedded, exported, imported, in_mongo, named, rows, same};
use crate::mongo::server::shared;

const ANN: i64 = 11;
const BOB: i64 = 22;
const CAT: i64 = 33;

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

/// A row of which only the columns that mean something are said; the others are of their kind, and rows differ in them.
fn made_up(table: &Table, number: i64, said: &[(&str, Cell)]) -> Row {
    let column = |(name, kind): &(&str, Kind)| {
        let known = said.iter().find(|(known, _)| known == name);
        if let Some((_, cell)) = known {
            return cell.clone();
        }
        match kind {
            Kind::Int => Cell::Int(number),
            Kind::Small => Cell::Int(1),
            Kind::Flag => Cell::Int(number & 1),
            Kind::Text => Cell::Text(format!("{name}-{number}")),
            Kind::Bytes => Cell::Bytes(vec![u8::try_from(number).unwrap_or(1); 32]),
        }
    };
    table.columns.iter().map(column).collect()
}

fn pair(user: i64, other: i64) -> Vec<(&'static str, Cell)> {
    vec![("user", Cell::Int(user)), ("other", Cell::Int(other))]
}

fn asked(asker: i64, of: i64, state: i64) -> Vec<(&'static str, Cell)> {
    vec![
        ("asker", Cell::Int(asker)),
        ("asked", Cell::Int(of)),
        ("state", Cell::Int(state)),
    ]
}

/// What is said of the rows of one table.
fn said_of(table: &Table) -> Vec<Vec<(&'static str, Cell)>> {
    let each = |column: &'static str, cells: Vec<Cell>| {
        cells.into_iter().map(|cell| vec![(column, cell)]).collect()
    };
    let users = || [ANN, BOB, CAT].map(Cell::Int).to_vec();
    match table.name {
        "users" => [ANN, BOB, CAT]
            .into_iter()
            .map(|id| vec![("id", Cell::Int(id)), ("kind", text("person"))])
            .collect(),
        "devices" | "labels" | "last_seen" | "changed_profiles" => each("user", users()),
        "blocks" => vec![pair(ANN, BOB), pair(BOB, ANN), pair(CAT, ANN)],
        "friends" => [pair(ANN, CAT), pair(CAT, ANN)]
            .into_iter()
            .map(|mut pair| {
                pair.push(("since", Cell::Int(9)));
                pair
            })
            .collect(),
        "friend_requests" => vec![asked(ANN, CAT, 2), asked(BOB, CAT, 0), asked(CAT, BOB, 1)],
        "notices" => [(ANN, BOB), (CAT, BOB)]
            .into_iter()
            .map(|(user, other)| {
                let args = text(&format!(
                    "{{\"user\":\"{}\"}}",
                    UserId(other.cast_unsigned())
                ));
                vec![("user", Cell::Int(user)), ("args", args)]
            })
            .collect(),
        "numbers" => each(
            "name",
            [
                "friend_requests",
                "notices",
                "reports",
                "bans",
                "admin_notices",
                "handovers",
            ]
            .map(text)
            .to_vec(),
        ),
        "documents" => vec![vec![("text", text(&"long ".repeat(600_000)))], vec![]],
        "bans" => vec![vec![("kind", text("user")), ("until", Cell::Null)]],
        "reports" | "handovers" => {
            let id = kith::ids::ConversationId::direct(UserId(11), UserId(22));
            vec![vec![("conversation", text(&id.to_string()))]]
        }
        "audit" => vec![vec![("detail", Cell::Null)], vec![("detail", text("{}"))]],
        "components" => vec![
            vec![
                ("digest", text("digest-1")),
                ("component", Cell::Bytes(vec![7; 3_000_000])),
            ],
            vec![
                ("digest", text("digest-2")),
                ("component", Cell::Bytes(vec![8; 10])),
            ],
        ],
        _ => vec![Vec::new(), Vec::new(), Vec::new()],
    }
}

/// The accounts filled: every table has rows.
async fn fill(into: &Deployment) {
    for table in &TABLES {
        let said = said_of(table);
        let rows: Vec<Row> = (1..)
            .zip(&said)
            .map(|(number, said)| made_up(table, number, said))
            .collect();
        into.accounts.take_rows(table, rows).await.expect("taken");
    }
    // Counters may be higher than what they have counted.
    let numbers = TABLES.last().expect("tables");
    let highest = vec![vec![text("generations"), Cell::Int(50)]];
    into.accounts
        .take_rows(numbers, highest)
        .await
        .expect("taken");
}

async fn of_people(accounts: &(impl Accounts + People + Moderation)) -> String {
    let [ann, bob, cat] = [UserId(11), UserId(22), UserId(33)];
    let mut said = String::new();
    for (one, other) in [(ann, bob), (bob, ann), (cat, ann), (ann, cat), (bob, cat)] {
        said += &format!(
            "{:?} ",
            accounts.relation(one, other).await.expect("a read")
        );
        said += &format!(
            "{:?}\n",
            accounts.request_of(one, other).await.expect("a read")
        );
    }
    for user in [ann, bob, cat] {
        said += &format!("{:?}\n", accounts.user(user).await.expect("a read"));
        said += &format!("{:?}\n", accounts.devices(user).await.expect("a read"));
        said += &format!(
            "{:?}\n",
            accounts.friends(user, None, 9).await.expect("a read")
        );
        said += &format!(
            "{:?}\n",
            accounts.requests(user, None, 9).await.expect("a read")
        );
        said += &format!("{:?}\n", accounts.last_seen(&[user]).await.expect("a read"));
    }
    said += &format!("{:?}\n", accounts.notices(9).await.expect("a read"));
    said += &format!("{:?}\n", accounts.bans(0).await.expect("a read"));
    said += &format!(
        "{:?}\n",
        accounts.admin_notices(None, 9).await.expect("a read")
    );
    said += &format!("{:?}\n", accounts.handovers(None, 9).await.expect("a read"));
    said += &format!(
        "{:?}\n",
        accounts.labels(&[ann, bob]).await.expect("a read")
    );
    said += &format!("{:?}\n", accounts.plugins().await.expect("a read"));
    said += &format!(
        "{:?}\n",
        accounts.newest_generation().await.expect("a read")
    );
    said += &format!(
        "{:?}\n",
        accounts.plugin_config("name-1").await.expect("a read")
    );
    said += &format!("{:?}\n", accounts.secret("name-1").await.expect("a read"));
    let component = accounts.component("digest-1").await.expect("a read");
    said + &format!("{:?}\n", component.map(|bytes| bytes.len()))
}

/// Numbers go on behind those that were given out, also where what had them is gone.
async fn goes_on(accounts: &impl Accounts) {
    let next = accounts.reserve_generations(1).await.expect("reserved");
    assert_eq!(next, 51);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_moves_to_mongodb_and_back() {
    let server = shared().await;
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(1_790_000_000_000));
    let (here, back, files) = (
        tempdir().expect("a"),
        tempdir().expect("b"),
        tempdir().expect("c"),
    );
    let (first, second) = (named(&files, "a"), named(&files, "b"));
    let (_, from) = embedded(here.path(), &clock);
    assert_eq!(from.accounts.rows_already().await.expect("a read"), None);
    fill(&from).await;
    assert!(
        from.accounts
            .rows_already()
            .await
            .expect("a read")
            .is_some()
    );
    let all = rows(&from).await;
    let empty: Vec<_> = all.iter().filter(|(_, rows)| rows.is_empty()).collect();
    assert!(empty.is_empty(), "{empty:?}");
    exported(&from, &first).await.expect("exported");
    let settings = server.database();
    let (log, middle) = in_mongo(&settings, &clock).await;
    assert_eq!(middle.accounts.rows_already().await.expect("a read"), None);
    imported(&middle, &first).await.expect("imported");
    same(&all, &rows(&middle).await);
    // Twice is once.
    fill(&middle).await;
    same(&all, &rows(&middle).await);
    exported(&middle, &second).await.expect("exported again");
    let (_, into) = embedded(back.path(), &clock);
    imported(&into, &second).await.expect("imported back");
    same(&all, &rows(&into).await);
    let file = |folder: &tempfile::TempDir| folder.path().join("accounts.sqlite");
    let one = SqliteAccounts::open(&file(&here)).expect("opens");
    let other = SqliteAccounts::open(&file(&back)).expect("opens");
    let mongo = Mongo::connect(&settings).await.expect("connects");
    let shared = MongoAccounts::open(&mongo).await.expect("opens");
    let said = of_people(&*one).await;
    assert!(
        said.contains("friends: true") && said.contains("Some(3000000)"),
        "{said}"
    );
    assert_eq!(said, of_people(&*shared).await);
    assert_eq!(said, of_people(&*other).await);
    for request in [RequestId(1), RequestId(2)] {
        let (here, there) = (one.request(request).await, shared.request(request).await);
        assert_eq!(here.expect("a read"), there.expect("a read"));
    }
    goes_on(&*shared).await;
    goes_on(&*other).await;
    use kith::store::MessageLog;
    log.close().await;
}
