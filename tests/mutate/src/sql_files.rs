//! SQL in files of its own: its changes are chosen when the program reads the file's text.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use crate::prepare::Mutant;

const ROOT: &str = "batchsuite-store/src/postgres";

/// Where the Postgres store takes in and uses the texts of its files: the code, and the code with switches.
const PLACES: [(&str, &str, &str); 14] = [
    (
        "statements.rs",
        r#"&include_str!(concat!("sql/", $file, ".sql"))"#,
        r#"&crate::mutant_sql::file(concat!("sql/", $file, ".sql"), include_str!(concat!("sql/", $file, ".sql")))"#,
    ),
    (
        "statements.rs",
        r#"include_str!(concat!("sql/fragments/", $name, ".sql"))"#,
        r#"crate::mutant_sql::file(concat!("sql/fragments/", $name, ".sql"), include_str!(concat!("sql/fragments/", $name, ".sql")))"#,
    ),
    // Constants cannot be chosen when the program runs, so their texts come in later.
    ("statements.rs", r#"const SWAP: &str = fragment!("swap")"#, r#"const SWAP: &str = "{later swap}""#),
    ("statements.rs", r#"const FIRST: &str = fragment!("first")"#, r#"const FIRST: &str = "{later first}""#),
    (
        "statements.rs",
        r#"const REPLACE: &str = fragment!("replace_tokens")"#,
        r#"const REPLACE: &str = "{later replace_tokens}""#,
    ),
    (
        "statements.rs",
        r#"const ERASE: &str = fragment!("erase_tokens")"#,
        r#"const ERASE: &str = "{later erase_tokens}""#,
    ),
    ("statements.rs", r#"const EVENTS: &str = fragment!("events")"#, r#"const EVENTS: &str = "{later events}""#),
    (
        "statements.rs",
        r#"sql.replace("{listed}", "#,
        r#"sql.replace("{later swap}", fragment!("swap")).replace("{later first}", fragment!("first")).replace("{later replace_tokens}", fragment!("replace_tokens")).replace("{later erase_tokens}", fragment!("erase_tokens")).replace("{later events}", fragment!("events")).replace("{listed}", "#,
    ),
    ("database.rs", "(&statement.sql,", "(crate::mutant_sql::used(&statement.sql),"),
    (
        "check.rs",
        r#"include_str!("sql/settings.sql")"#,
        r#"crate::mutant_sql::used(crate::mutant_sql::file("sql/settings.sql", include_str!("sql/settings.sql")))"#,
    ),
    (
        "check.rs",
        r#"include_str!("sql/rights.sql")"#,
        r#"crate::mutant_sql::used(crate::mutant_sql::file("sql/rights.sql", include_str!("sql/rights.sql")))"#,
    ),
    (
        "migrate.rs",
        "const MIGRATIONS: &[Migration] =\n    &[",
        "static MIGRATIONS: std::sync::LazyLock<Vec<Migration>> =\n    std::sync::LazyLock::new(|| vec![",
    ),
    (
        "migrate.rs",
        r#"include_str!("migrations/V1__opt_ins.sql") }];"#,
        r#"crate::mutant_sql::used(crate::mutant_sql::file("migrations/V1__opt_ins.sql", include_str!("migrations/V1__opt_ins.sql"))) }]);"#,
    ),
    ("migrate.rs", "for migration in MIGRATIONS {", "for migration in MIGRATIONS.iter() {"),
];

/// The code that takes in or uses SQL files.
pub(crate) fn switched_files() -> impl Iterator<Item = PathBuf> {
    PLACES.iter().map(|(name, ..)| Path::new(ROOT).join(name))
}

/// The text of a file of the workspace, with the switches for SQL files.
pub(crate) fn switched(file: &Path, text: String) -> String {
    let places = PLACES.iter().filter(|(name, ..)| file == Path::new(ROOT).join(name));
    places.fold(text, |text, (name, was, becomes)| {
        assert!(text.contains(was), "{name} no longer contains {was}");
        text.replace(was, becomes)
    })
}

/// The module that knows the changes of the SQL files.
pub(crate) fn module(tree: &Path, mutants: &[Mutant]) -> String {
    let changes = mutants.iter().filter(|mutant| !mutant.is_in_rust());
    let (mut texts, mut ids) = (String::new(), String::new());
    for mutant in changes {
        let path = tree.join(&mutant.file);
        let mut changed = fs::read_to_string(&path).expect("a text");
        changed.replace_range(mutant.place.clone(), &mutant.replacement);
        let name = path.strip_prefix(tree.join(ROOT)).expect("a file of the store").display();
        _ = writeln!(texts, "            ({name:?}, {}, {changed:?}),", mutant.id);
        _ = writeln!(ids, "            ({name:?}, {}),", mutant.id);
    }
    format!(
        r#"
#[doc(hidden)]
#[allow(warnings, clippy::all)]
pub mod mutant_sql {{
    /// Each text ends with the name of its file, so that its use is seen.
    pub fn file(name: &str, was: &str) -> &'static str {{
        let changed = [
{texts}        ];
        let chosen = changed.iter().find(|(of, id, _)| *of == name && crate::mutant::is_active(*id));
        let text = chosen.map_or(was, |(_, _, text)| text);
        Box::leak(format!("{{text}}\n/* text of {{name}} */").into_boxed_str())
    }}

    pub fn used(text: &str) -> &str {{
        let ids = [
{ids}        ];
        for part in text.split("/* text of ").skip(1) {{
            let name = part.split(" */").next().unwrap_or_default();
            ids.iter().filter(|(of, _)| *of == name).for_each(|(_, id)| crate::mutant::reached(*id));
        }}
        text
    }}
}}
"#
    )
}
