//! Maps and sets for the message path: the standard library's, with a hash made for short keys. It is seeded
//! by chance; what strangers could choose in large numbers stands in bounded maps only.

use foldhash::fast::RandomState;

pub type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;
pub type HashSet<K> = std::collections::HashSet<K, RandomState>;
