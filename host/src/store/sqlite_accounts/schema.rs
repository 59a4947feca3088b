//! The tables and how they came to be:
//! numbered steps, each done once, in order.

use rusqlite::Connection;

const STEPS: &[&str] = &[
    "
    CREATE TABLE users (
        id INTEGER PRIMARY KEY, username TEXT NOT NULL UNIQUE, display_name TEXT NOT NULL, folded_name TEXT NOT NULL,
        avatar TEXT, kind TEXT NOT NULL, password TEXT, disabled INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE devices (
        user INTEGER NOT NULL REFERENCES users(id), id TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
        family INTEGER NOT NULL, refresh BLOB NOT NULL UNIQUE, refresh_expires_at INTEGER NOT NULL,
        created_at INTEGER NOT NULL, seen_at INTEGER NOT NULL, PRIMARY KEY (user, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE used_refresh (
        refresh BLOB PRIMARY KEY, user INTEGER NOT NULL, device TEXT NOT NULL, family INTEGER NOT NULL,
        expires_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX used_refresh_expiry ON used_refresh (expires_at);
    CREATE TABLE blocks (
        user INTEGER NOT NULL, other INTEGER NOT NULL, PRIMARY KEY (user, other)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
    CREATE TABLE plugins (
        digest TEXT PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL, size INTEGER NOT NULL,
        pushed_at INTEGER NOT NULL, quarantined INTEGER NOT NULL, signed_by TEXT, component BLOB NOT NULL,
        UNIQUE (name, version)
    ) STRICT;
    CREATE TABLE plugin_configs (
        name TEXT NOT NULL, revision INTEGER NOT NULL, config TEXT NOT NULL, reverted INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (name, revision)
    ) STRICT;
    CREATE TABLE generations (
        number INTEGER PRIMARY KEY, bindings TEXT NOT NULL, at INTEGER NOT NULL, cause TEXT NOT NULL
    ) STRICT;
    CREATE TABLE reserved (name TEXT PRIMARY KEY, next INTEGER NOT NULL) STRICT;
    CREATE TABLE documents (name TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT;
    CREATE TABLE admin_tokens (token BLOB PRIMARY KEY, name TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
    CREATE TABLE audit (at INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL) STRICT;
",
    "
    CREATE TABLE friends (
        user INTEGER NOT NULL, other INTEGER NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (user, other)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE friend_requests (
        id INTEGER PRIMARY KEY AUTOINCREMENT, asker INTEGER NOT NULL, asked INTEGER NOT NULL, text TEXT,
        at INTEGER NOT NULL, state INTEGER NOT NULL, refusals INTEGER NOT NULL, UNIQUE (asker, asked)
    ) STRICT;
    CREATE INDEX friend_requests_asked ON friend_requests (asked, state);
    CREATE TABLE notices (
        number INTEGER PRIMARY KEY AUTOINCREMENT, user INTEGER NOT NULL, code TEXT NOT NULL, args TEXT NOT NULL
    ) STRICT;
    CREATE TABLE changed_profiles (user INTEGER PRIMARY KEY, change INTEGER NOT NULL) STRICT;
    CREATE TABLE reports (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, reporter INTEGER NOT NULL, user INTEGER,
        conversation TEXT, seq INTEGER, reason TEXT NOT NULL, text TEXT
    ) STRICT;
",
    "
    CREATE TABLE last_seen (user INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT;
    CREATE TABLE media (
        id INTEGER PRIMARY KEY, owner INTEGER NOT NULL, name TEXT NOT NULL, mime TEXT NOT NULL, bytes INTEGER NOT NULL,
        sha256 BLOB, state INTEGER NOT NULL, width INTEGER, height INTEGER, duration_ms INTEGER,
        thumb INTEGER NOT NULL UNIQUE, thumb_mime TEXT, thumb_bytes INTEGER NOT NULL, created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL, look_at INTEGER
    ) STRICT;
    CREATE INDEX media_owner ON media (owner, created_at);
    CREATE INDEX media_due ON media (look_at) WHERE look_at IS NOT NULL;
    CREATE INDEX users_avatar ON users (avatar) WHERE avatar IS NOT NULL;
",
    // Apart from what is listed: a version without its component is pruned.
    "
    CREATE TABLE components (digest TEXT PRIMARY KEY, component BLOB NOT NULL) STRICT;
    INSERT INTO components SELECT digest, component FROM plugins;
    ALTER TABLE plugins DROP COLUMN component;
    ALTER TABLE plugins ADD COLUMN signature TEXT;
",
    "
    CREATE TABLE bans (
        id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, subject TEXT NOT NULL, until INTEGER,
        reason TEXT NOT NULL, by TEXT NOT NULL, at INTEGER NOT NULL, UNIQUE (kind, subject)
    ) STRICT;
    CREATE TABLE labels (
        user INTEGER NOT NULL, label TEXT NOT NULL, PRIMARY KEY (user, label)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE admin_notices (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, by TEXT NOT NULL, text TEXT NOT NULL, user INTEGER
    ) STRICT;
    CREATE TABLE wishes (
        id INTEGER PRIMARY KEY, action TEXT NOT NULL, subject TEXT NOT NULL, actor TEXT NOT NULL, at INTEGER NOT NULL,
        UNIQUE (action, subject, actor)
    ) STRICT;
",
    "
    CREATE TABLE handovers (
        id INTEGER PRIMARY KEY AUTOINCREMENT, conversation TEXT NOT NULL, account INTEGER NOT NULL, plugin TEXT NOT NULL,
        reason TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, UNIQUE (conversation, account)
    ) STRICT;
",
    // Lines of the audit log have numbers that stay, and say from what to what.
    "
    ALTER TABLE audit RENAME TO audit_without_ids;
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
        subject TEXT NOT NULL, was TEXT, became TEXT, detail TEXT
    ) STRICT;
    INSERT INTO audit (at, actor, action, subject)
        SELECT at, actor, action, subject FROM audit_without_ids ORDER BY rowid;
    DROP TABLE audit_without_ids;
",
];

/// Does the steps this file has not seen yet. A file of a newer program is refused.
pub fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let done: usize = connection
        .pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?
        .max(0) as usize;
    if done > STEPS.len() {
        return Err(rusqlite::Error::InvalidParameterName(format!(
            "the tables are of a newer program (form {done}, this one knows {})",
            STEPS.len()
        )));
    }
    for (number, step) in STEPS.iter().enumerate().skip(done) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", number as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_of_older_tables_are_where_they_are_looked_for() {
        let mut connection = Connection::open_in_memory().expect("opens");
        let apart = STEPS
            .iter()
            .position(|step| step.contains("INTO components"));
        let apart = apart.expect("the step that moves them");
        for step in &STEPS[..apart] {
            connection.execute_batch(step).expect("a step");
        }
        connection
            .pragma_update(None, "user_version", apart as i64)
            .expect("updates");
        let insert =
            "INSERT INTO plugins VALUES ('sha256:aa', 'a', '1.0.0', 3, 1, 0, NULL, x'616263')";
        connection.execute(insert, []).expect("a version");
        migrate(&mut connection).expect("migrates");
        let select =
            "SELECT name, signature, component FROM plugins JOIN components USING (digest)";
        let found: (String, Option<String>, Vec<u8>) = connection
            .query_row(select, [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .expect("the version");
        assert_eq!(found, ("a".to_owned(), None, b"abc".to_vec()));
    }

    #[test]
    fn lines_of_an_older_audit_log_are_numbered_in_their_order() {
        let mut connection = Connection::open_in_memory().expect("opens");
        let numbered = STEPS
            .iter()
            .position(|step| step.contains("audit_without_ids"));
        let numbered = numbered.expect("the step that numbers them");
        for step in &STEPS[..numbered] {
            connection.execute_batch(step).expect("a step");
        }
        connection
            .pragma_update(None, "user_version", numbered as i64)
            .expect("updates");
        for n in 1..=3 {
            let insert = "INSERT INTO audit VALUES (?1, 'ann', 'a', 's')";
            connection.execute(insert, [n]).expect("a line");
        }
        migrate(&mut connection).expect("migrates");
        let mut select = connection
            .prepare("SELECT id, at FROM audit ORDER BY id")
            .expect("prepares");
        let found: Vec<(i64, i64)> = select
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .expect("asks")
            .collect::<Result<_, _>>()
            .expect("lines");
        assert_eq!(found, [(1, 1), (2, 2), (3, 3)]);
    }

    #[test]
    fn migrating_again_changes_nothing_and_a_newer_file_is_refused() {
        let mut connection = Connection::open_in_memory().expect("opens");
        migrate(&mut connection).expect("migrates");
        migrate(&mut connection).expect("migrates again");
        connection
            .pragma_update(None, "user_version", 999)
            .expect("updates");
        assert!(migrate(&mut connection).is_err());
    }
}
