//! The accounts as tables of plain values: which there are, what is in a row, and how rows are written down. An engine's own
//! form is its adapter's. No I/O.
//!
//! A table or column that is added here raises the version of the file they are moved in.

use crate::store::StoreError;
use crate::store::log::rows::{Reader, Writer};

/// What a column holds; whichever it is, it may also be nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 64 bits: numbers, times, ids with the same bits.
    Int,
    /// One of a few.
    Small,
    Flag,
    Text,
    Bytes,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    pub name: &'static str,
    /// So many columns, the first ones, tell rows apart.
    pub keys: usize,
    pub columns: &'static [(&'static str, Kind)],
}

/// A row's values, in the order of its table's columns.
pub type Row = Vec<Cell>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

use Kind::{Bytes, Flag, Int, Small, Text};

const fn table(name: &'static str, keys: usize, columns: &'static [(&'static str, Kind)]) -> Table {
    Table {
        name,
        keys,
        columns,
    }
}

/// Every table, in the order in which they are moved: rows name only what was before them.
pub static TABLES: [Table; 25] = [
    table(
        "users",
        1,
        &[
            ("id", Int),
            ("username", Text),
            ("display_name", Text),
            ("folded_name", Text),
            ("avatar", Text),
            ("kind", Text),
            ("password", Text),
            ("disabled", Flag),
            ("created_at", Int),
        ],
    ),
    table(
        "devices",
        2,
        &[
            ("user", Int),
            ("id", Text),
            ("kind", Text),
            ("name", Text),
            ("family", Int),
            ("refresh", Bytes),
            ("refresh_expires_at", Int),
            ("created_at", Int),
            ("seen_at", Int),
        ],
    ),
    table(
        "used_refresh",
        1,
        &[
            ("refresh", Bytes),
            ("user", Int),
            ("device", Text),
            ("family", Int),
            ("expires_at", Int),
        ],
    ),
    table("last_seen", 1, &[("user", Int), ("at", Int)]),
    table("changed_profiles", 1, &[("user", Int), ("change", Int)]),
    table("blocks", 2, &[("user", Int), ("other", Int)]),
    table(
        "friends",
        2,
        &[("user", Int), ("other", Int), ("since", Int)],
    ),
    table(
        "friend_requests",
        1,
        &[
            ("id", Int),
            ("asker", Int),
            ("asked", Int),
            ("text", Text),
            ("at", Int),
            ("state", Small),
            ("refusals", Int),
        ],
    ),
    table(
        "notices",
        1,
        &[
            ("number", Int),
            ("user", Int),
            ("code", Text),
            ("args", Text),
        ],
    ),
    table(
        "reports",
        1,
        &[
            ("id", Int),
            ("at", Int),
            ("reporter", Int),
            ("user", Int),
            ("conversation", Text),
            ("seq", Int),
            ("reason", Text),
            ("text", Text),
        ],
    ),
    MEDIA,
    table("secrets", 1, &[("name", Text), ("value", Bytes)]),
    table(
        "plugins",
        1,
        &[
            ("digest", Text),
            ("name", Text),
            ("version", Text),
            ("size", Int),
            ("pushed_at", Int),
            ("quarantined", Flag),
            ("signed_by", Text),
            ("signature", Text),
        ],
    ),
    table("components", 1, &[("digest", Text), ("component", Bytes)]),
    table(
        "plugin_configs",
        2,
        &[
            ("name", Text),
            ("revision", Int),
            ("config", Text),
            ("reverted", Flag),
        ],
    ),
    table(
        "generations",
        1,
        &[
            ("number", Int),
            ("bindings", Text),
            ("at", Int),
            ("cause", Text),
        ],
    ),
    table("documents", 1, &[("name", Text), ("text", Text)]),
    table(
        "admin_tokens",
        1,
        &[("token", Bytes), ("name", Text), ("at", Int)],
    ),
    table(
        "audit",
        1,
        &[
            ("id", Int),
            ("at", Int),
            ("actor", Text),
            ("action", Text),
            ("subject", Text),
            ("was", Text),
            ("became", Text),
            ("detail", Text),
        ],
    ),
    table(
        "bans",
        1,
        &[
            ("id", Int),
            ("kind", Text),
            ("subject", Text),
            ("until", Int),
            ("reason", Text),
            ("by", Text),
            ("at", Int),
        ],
    ),
    table("labels", 2, &[("user", Int), ("label", Text)]),
    table(
        "admin_notices",
        1,
        &[
            ("id", Int),
            ("at", Int),
            ("by", Text),
            ("text", Text),
            ("user", Int),
        ],
    ),
    table(
        "wishes",
        3,
        &[
            ("action", Text),
            ("subject", Text),
            ("actor", Text),
            ("at", Int),
        ],
    ),
    table(
        "handovers",
        1,
        &[
            ("id", Int),
            ("conversation", Text),
            ("account", Int),
            ("plugin", Text),
            ("reason", Text),
            ("seq", Int),
            ("at", Int),
        ],
    ),
    // The last number that each counter has given out.
    table("numbers", 1, &[("name", Text), ("last", Int)]),
];

/// Records of uploads; their bytes are moved beside them.
pub const MEDIA: Table = table(
    "media",
    1,
    &[
        ("id", Int),
        ("owner", Int),
        ("name", Text),
        ("mime", Text),
        ("bytes", Int),
        ("sha256", Bytes),
        ("state", Small),
        ("width", Int),
        ("height", Int),
        ("duration_ms", Int),
        ("thumb", Int),
        ("thumb_mime", Text),
        ("thumb_bytes", Int),
        ("created_at", Int),
        ("expires_at", Int),
        ("look_at", Int),
    ],
);

/// The table of a name; `None` of one that only another version of this program has.
pub fn named(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.name == name)
}

impl Table {
    /// Where a column stands in a row.
    pub fn place(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|(name, _)| *name == column)
    }
}

impl Cell {
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Bytes it takes, about.
    pub fn size(&self) -> usize {
        match self {
            Self::Null => 1,
            Self::Int(_) => 9,
            Self::Text(text) => 5 + text.len(),
            Self::Bytes(bytes) => 5 + bytes.len(),
        }
    }
}

/// Values one after another, as they are written down.
pub fn encode(cells: &[Cell]) -> Vec<u8> {
    let mut out = Writer::default();
    for cell in cells {
        match cell {
            Cell::Null => out.u8(0),
            Cell::Int(value) => out.u8(1).u64(value.cast_unsigned()),
            Cell::Text(text) => out.u8(2).bytes(text.as_bytes()),
            Cell::Bytes(bytes) => out.u8(3).bytes(bytes),
        };
    }
    out.0
}

/// `count` values that were written down; nothing may follow them.
pub fn decode(bytes: &[u8], count: usize) -> Result<Row, StoreError> {
    let mut from = Reader(bytes);
    let row: Option<Row> = (0..count).map(|_| cell(&mut from)).collect();
    row.filter(|_| from.0.is_empty())
        .ok_or_else(|| StoreError::Damaged("a row of the accounts could not be read".to_owned()))
}

fn cell(from: &mut Reader<'_>) -> Option<Cell> {
    Some(match from.u8()? {
        0 => Cell::Null,
        1 => Cell::Int(from.u64()?.cast_signed()),
        2 => Cell::Text(from.text()?),
        3 => Cell::Bytes(from.bytes()?.to_vec()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_were() {
        let row = vec![
            Cell::Null,
            Cell::Int(-3),
            Cell::Text("ä".to_owned()),
            Cell::Bytes(vec![0, 255]),
        ];
        let bytes = encode(&row);
        assert_eq!(decode(&bytes, 4).expect("reads"), row);
        assert!(decode(&bytes, 3).is_err(), "something follows");
        assert!(decode(&bytes[..bytes.len() - 1], 4).is_err(), "cut");
    }

    #[test]
    fn every_table_has_a_name_of_its_own_and_its_keys() {
        for table in &TABLES {
            assert!(std::ptr::eq(named(table.name).expect("known"), table));
            assert!(table.keys > 0 && table.keys <= table.columns.len());
        }
        assert!(named("nothing").is_none());
    }
}
