//! Plugins from source to component: the tool chains, the build, new projects, fixtures. For authors and for the
//! repository's own plugins alike; knows nothing of the server.

mod build;
mod fixtures;
mod replay;
mod scaffold;
mod toolchain;

pub use build::{Built, build, code_cache};
pub use fixtures::{Case, Tested, Took, test};
pub use replay::{Replayed, replay};
pub use scaffold::{HOOKS, Language, scaffold};
