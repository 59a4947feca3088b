//! New plugin projects: a plugin with the hooks that are asked for, its tests and fixtures, and the SDK and the contract
//! beside it, so that the project builds anywhere.

mod kit;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use kit::template;

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    Rust,
    Javascript,
    Python,
}

/// The hooks a project can begin with.
pub const HOOKS: [&str; 6] = [
    "content-filter",
    "message-strategy",
    "command",
    "admin-rule",
    "observer",
    "responder",
];

/// Makes the folder NAME with a plugin of these hooks that builds and whose tests pass.
pub fn scaffold(folder: &Path, language: Language, hooks: &[String]) -> Result<()> {
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let well_formed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty()
        || !name.starts_with(|c: char| c.is_ascii_lowercase())
        || !name.chars().all(well_formed)
    {
        bail!(
            "{name} is no plugin's name: a lower-case letter, then lower-case letters, digits and -"
        );
    }
    if let Some(unknown) = hooks.iter().find(|hook| !HOOKS.contains(&hook.as_str())) {
        bail!("there is no hook {unknown}; there are {}", HOOKS.join(", "));
    }
    if folder.exists() {
        bail!("{} is there already", folder.display());
    }
    let project = Project::new(name, language, hooks)?;
    for (path, text) in project.files() {
        write(&folder.join(path), &text)?;
    }
    let kit = match language {
        Language::Rust => kit::RUST,
        Language::Javascript => kit::JAVASCRIPT,
        Language::Python => kit::PYTHON,
    };
    for (path, text) in kit.iter().chain(kit::CONTRACT) {
        write(&folder.join("kith").join(path), text)?;
    }
    if language == Language::Rust {
        let manifest = folder.join("kith/sdk/rust/Cargo.toml");
        write(&manifest, kit::RUST_MANIFEST)?;
    }
    Ok(())
}

/// A project's words, ready to be put into the templates.
struct Project {
    name: String,
    language: Language,
    hooks: Vec<&'static str>,
    words: BTreeMap<&'static str, String>,
}

impl Project {
    fn new(name: &str, language: Language, asked: &[String]) -> Result<Self> {
        let wanted = |hook: &&&str| asked.iter().any(|asked| asked == **hook);
        let hooks: Vec<&str> = HOOKS.iter().filter(wanted).copied().collect();
        let known: Value = serde_json::from_str(template("hooks.json"))?;
        let mut properties = Map::new();
        let mut abilities = BTreeSet::new();
        let mut does = Vec::new();
        for hook in &hooks {
            let about = &known[hook];
            does.push(about["does"].as_str().unwrap_or_default().to_owned());
            properties.extend(about["config"].as_object().cloned().unwrap_or_default());
            let named = about["abilities"].as_array().into_iter().flatten();
            abilities.extend(named.filter_map(Value::as_str).map(str::to_owned));
        }
        let mut project = Self {
            name: name.to_owned(),
            language,
            hooks,
            words: BTreeMap::new(),
        };
        let grants: Vec<_> = abilities.iter().map(String::as_str).collect();
        project.put(
            "grant",
            match grants.as_slice() {
                [] => String::new(),
                grants => format!(" --grant {}", grants.join(",")),
            },
        );
        project.put("abilities", quoted(grants));
        project.describe(&does, &properties);
        project.put_parts();
        Ok(project)
    }

    fn put(&mut self, word: &'static str, text: impl Into<String>) {
        self.words.insert(word, text.into());
    }

    fn describe(&mut self, does: &[String], properties: &Map<String, Value>) {
        let does = does.join(", and ");
        let capital = does[..1].to_uppercase();
        let indent = match self.language {
            Language::Javascript => "      ",
            Language::Rust | Language::Python => "            ",
        };
        let lines: Vec<_> = properties
            .iter()
            .map(|(key, schema)| format!("{indent}\"{key}\": {schema}"))
            .collect();
        let defaults: Map<String, Value> = properties
            .iter()
            .map(|(key, schema)| (key.clone(), schema["default"].clone()))
            .collect();
        let words: Vec<String> = self.name.split('-').map(capitalised).collect();
        let (name, module) = (self.name.clone(), self.name.replace('-', "_"));
        self.put("Summary", format!("{capital}{}.", &does[1..]));
        self.put("does", does);
        self.put("properties", lines.join(",\n"));
        self.put("defaults", json!(defaults).to_string());
        self.put("name", name);
        self.put("module", module);
        self.put("Type", words.concat());
        self.put("unit", match self.language {
            Language::Rust => "cargo test                      # the unit tests, natively",
            Language::Javascript => "npm install && npm test         # the unit tests, natively",
            Language::Python => {
                "PYTHONPATH=src:kith/sdk/python python3 -m unittest discover tests   # the unit tests, natively"
            }
        });
    }

    /// What the hooks' own parts say: names are sorted and joined, everything else stands one after another.
    fn put_parts(&mut self) {
        let folder = self.folder();
        let mut parts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for hook in &self.hooks {
            for (section, text) in sections(template(&format!("{folder}/{hook}.in"))) {
                parts.entry(section).or_default().push(text);
            }
        }
        let own = match self.language {
            Language::Rust => vec!["HookDefault", "Plugin"],
            Language::Javascript => vec!["Plugin"],
            Language::Python => vec![],
        };
        let named = |section: &str, own: Vec<&str>| {
            let texts = parts.get(section).into_iter().flatten();
            let mut names: Vec<&str> = texts
                .flat_map(|text| text.split(',').map(str::trim))
                .chain(own)
                .collect();
            names.sort_unstable_by_key(|name| (name.starts_with(char::is_lowercase), *name));
            names.dedup();
            names.join(", ")
        };
        let joined = |section: &str, between: &str| {
            parts
                .get(section)
                .map_or(String::new(), |texts| texts.join(between))
        };
        let (uses, bases, testing) = (
            named("uses", own),
            joined("bases", ", "),
            named("testing", vec![]),
        );
        let (fields, bodies, tests) = (
            joined("fields", "\n"),
            joined("bodies", "\n\n"),
            joined("tests", "\n\n"),
        );
        let hooks = match self.language {
            Language::Rust => {
                let of = |hook: &&str| format!("HookDefault::new(\"{hook}\")");
                self.hooks.iter().map(of).collect::<Vec<_>>().join(", ")
            }
            Language::Javascript | Language::Python => quoted(self.hooks.clone()),
        };
        let registered: Vec<_> = self
            .hooks
            .iter()
            .map(|hook| hook.replace('-', "_"))
            .collect();
        for (word, text) in [
            ("uses", uses),
            ("bases", bases),
            ("testing", testing),
            ("fields", fields),
            ("bodies", bodies),
            ("tests", tests),
            ("hooks", hooks),
            ("parts", registered.join(", ")),
        ] {
            self.put(word, text);
        }
    }

    fn folder(&self) -> &'static str {
        match self.language {
            Language::Rust => "rust",
            Language::Javascript => "javascript",
            Language::Python => "python",
        }
    }

    /// The project's own files.
    fn files(&self) -> Vec<(String, String)> {
        let module = &self.words["module"];
        let from: Vec<(&str, String)> = match self.language {
            Language::Rust => vec![
                ("rust/Cargo.toml.in", "Cargo.toml".to_owned()),
                ("rust/lib.rs.in", "src/lib.rs".to_owned()),
            ],
            Language::Javascript => vec![
                ("javascript/package.json.in", "package.json".to_owned()),
                ("javascript/plugin.js.in", "src/plugin.js".to_owned()),
                (
                    "javascript/plugin.test.js.in",
                    "test/plugin.test.js".to_owned(),
                ),
            ],
            Language::Python => vec![
                ("python/pyproject.toml.in", "pyproject.toml".to_owned()),
                ("python/plugin.py.in", format!("src/{module}.py")),
                (
                    "python/test_plugin.py.in",
                    format!("tests/test_{module}.py"),
                ),
            ],
        };
        let mut files: Vec<_> = from
            .into_iter()
            .chain([("README.md.in", "README.md".to_owned())])
            .map(|(template_path, to)| (to, self.filled(template(template_path))))
            .collect();
        for hook in &self.hooks {
            let folder = format!("sdk/template/fixtures/{hook}/");
            for (path, text) in kit::TEMPLATES {
                if let Some(file) = path.strip_prefix(&folder) {
                    files.push((format!("fixtures/{file}"), (*text).to_owned()));
                }
            }
        }
        files.push((
            ".gitignore".to_owned(),
            "target\nnode_modules\n__pycache__\n".to_owned(),
        ));
        files
    }

    /// A template with its words filled in; twice, because parts have words of their own.
    fn filled(&self, text: &str) -> String {
        let once = |text: &str| {
            self.words
                .iter()
                .fold(text.to_owned(), |text, (word, with)| {
                    text.replace(&format!("{{{{{word}}}}}"), with)
                })
        };
        once(&once(text))
    }
}

/// A line `== NAME` begins a section.
fn sections(text: &'static str) -> Vec<(&'static str, String)> {
    let mut sections: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("== "), sections.last_mut()) {
            (Some(name), _) => sections.push((name.trim(), Vec::new())),
            (None, Some((_, lines))) => lines.push(line),
            (None, None) => {}
        }
    }
    let whole = |(name, lines): (&'static str, Vec<&str>)| (name, lines.join("\n"));
    sections.into_iter().map(whole).collect()
}

fn quoted(names: Vec<&str>) -> String {
    let of = |name: &str| format!("\"{name}\"");
    names.into_iter().map(of).collect::<Vec<_>>().join(", ")
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

fn write(file: &Path, text: &str) -> Result<()> {
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("cannot make {}", parent.display()))?;
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
