//! Accounts and administrators' tables in SQLite. Implements `Accounts`; knows no other adapter.
//!
//! One connection writes and reads, another searches, each behind a lock and off the async threads; what the message path asks is answered
//! from memory, exactly, because this process is the only writer.

mod administration;
mod audit;
mod friends;
mod media;
mod moderation;
mod people;
mod portable;
mod presence;
mod relations;
mod reports;
mod schema;

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::watch;

use super::StoreError;
use super::accounts::{Device, Relation, User};
use crate::ids::UserId;
use crate::maps::HashMap;

/// Entries a cache may have before it starts again.
const CACHED_MOST: usize = 100_000;

/// The open tables.
pub struct SqliteAccounts {
    connection: Arc<Mutex<Connection>>,
    /// For searches alone: they read many rows, and nothing else waits for them.
    searching: Arc<Mutex<Connection>>,
    users: Cache<UserId, Arc<User>>,
    devices: Cache<(UserId, String), Arc<Device>>,
    relations: Cache<(UserId, UserId), Relation>,
    /// The newest line of the audit log.
    audited: watch::Sender<u64>,
}

/// What was asked for lately; forgotten whole when it grows too large.
struct Cache<K, V>(Mutex<CacheState<K, V>>);

struct CacheState<K, V> {
    known: HashMap<K, V>,
    /// Rises with every change: what was read before a change is not kept after it.
    age: u64,
}

impl<K: std::hash::Hash + Eq, V: Clone> Cache<K, V> {
    fn new() -> Self {
        Self(Mutex::new(CacheState {
            known: HashMap::default(),
            age: 0,
        }))
    }

    /// A known value, or the age to keep a read one under.
    fn get(&self, key: &K) -> Result<V, u64> {
        let state = self.0.lock();
        state.known.get(key).cloned().ok_or(state.age)
    }

    fn keep(&self, age: u64, key: K, value: V) {
        let mut state = self.0.lock();
        if state.age == age {
            if state.known.len() >= CACHED_MOST {
                state.known.clear();
            }
            state.known.insert(key, value);
        }
    }

    /// Forgets whatever a change may have touched.
    fn forget(&self, touched: impl Fn(&K) -> bool) {
        let mut state = self.0.lock();
        state.age += 1;
        state.known.retain(|key, _| !touched(key));
    }
}

pub(super) fn unavailable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("accounts: {error}"))
}

impl SqliteAccounts {
    /// Opens the tables in a file, made when it is not there, and brings them to this program's form.
    pub fn open(file: &Path) -> Result<Arc<Self>, StoreError> {
        let mut connection = Connection::open(file).map_err(unavailable)?;
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .map_err(unavailable)?;
        connection
            .pragma_update(None, "synchronous", "FULL")
            .map_err(unavailable)?;
        connection
            .pragma_update(None, "foreign_keys", true)
            .map_err(unavailable)?;
        schema::migrate(&mut connection).map_err(unavailable)?;
        let audited = watch::Sender::new(audit::newest(&connection).map_err(unavailable)?);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let searching = Connection::open_with_flags(file, flags).map_err(unavailable)?;
        Ok(Arc::new(Self {
            connection: Arc::new(Mutex::new(connection)),
            searching: Arc::new(Mutex::new(searching)),
            users: Cache::new(),
            devices: Cache::new(),
            relations: Cache::new(),
            audited,
        }))
    }

    /// Looks through a file, also while a server runs, and changes nothing.
    pub fn check(file: &Path) -> Result<(), StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags).map_err(unavailable)?;
        let found: String = connection
            .query_row("PRAGMA quick_check(1)", (), |row| row.get(0))
            .map_err(unavailable)?;
        match found.as_str() {
            "ok" => Ok(()),
            damage => Err(StoreError::Damaged(damage.to_owned())),
        }
    }

    /// Rewrites the tables of a file so that what was deleted is gone from the disk. No server may run.
    pub fn compact(file: &Path) -> Result<(), StoreError> {
        if !file.is_file() {
            return Ok(());
        }
        let connection = Connection::open(file).map_err(unavailable)?;
        connection
            .execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")
            .map_err(unavailable)
    }

    /// Works on the connection, off the async threads.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        Self::on(&self.connection, work).await
    }

    /// Reads on the connection of searches.
    async fn search<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        Self::on(&self.searching, work).await
    }

    async fn on<T: Send + 'static>(
        connection: &Arc<Mutex<Connection>>,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let connection = connection.clone();
        let worked = tokio::task::spawn_blocking(move || work(&mut connection.lock())).await;
        worked.map_err(unavailable)?.map_err(unavailable)
    }
}

/// SQLite keeps signed 64-bit numbers; ids are stored with the same bits.
fn signed(id: u64) -> i64 {
    id.cast_signed()
}

fn unsigned(stored: i64) -> u64 {
    stored.cast_unsigned()
}
