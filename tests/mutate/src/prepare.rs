//! A copy of the workspace in which all changes stand behind switches.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use crate::{
    areas::{AREAS, Area},
    sql, sql_files,
    switches::{self, MODULE},
};

/// One change, as cargo-mutants lists it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Mutant {
    #[serde(skip)]
    pub(crate) id: u32,
    #[serde(skip)]
    pub(crate) area: &'static str,
    /// Its name without its place in the file.
    #[serde(skip)]
    pub(crate) bare_name: String,
    /// The bytes that change.
    #[serde(skip)]
    pub(crate) place: Range<usize>,
    pub(crate) file: PathBuf,
    pub(crate) genre: Genre,
    pub(crate) name: String,
    pub(crate) replacement: String,
    span: Span,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) enum Genre {
    BinaryOperator,
    FnValue,
    MatchArm,
    MatchArmGuard,
    StructField,
    UnaryOperator,
    /// A clause of SQL.
    #[serde(skip)]
    Sql,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Span {
    start: Position,
    end: Position,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Position {
    line: usize,
    column: usize,
}

/// Whether a change can be tried, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    Switched,
    /// No switch can express it; it is compiled alone.
    Apart,
    /// The compiler rejects it.
    Unviable,
}

#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) out: PathBuf,
    pub(crate) tree: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) mutants: Vec<Mutant>,
    pub(crate) forms: Vec<Form>,
}

impl Mutant {
    #[cfg(test)]
    pub(crate) fn for_test(id: u32, genre: Genre, place: Range<usize>, replacement: &str) -> Self {
        let (area, name, bare_name) = ("machine", "a.rs:1:1: change".to_owned(), "a.rs: change".to_owned());
        let (file, replacement, span) = (PathBuf::from("a.rs"), replacement.to_owned(), Span::default());
        Self { id, area, bare_name, place, file, genre, name, replacement, span }
    }

    pub(crate) fn is_in_rust(&self) -> bool {
        self.file.extension().is_some_and(|extension| extension == "rs")
    }
}

impl Prepared {
    pub(crate) fn new(out: &Path) -> Self {
        fs::create_dir_all(out).expect("a directory");
        let out = out.canonicalize().expect("a path");
        let tree = out.join("switching");
        copy_workspace(&tree);
        let mut mutants: Vec<Mutant> = AREAS.iter().flat_map(|area| listed(&tree, area)).collect();
        for (id, mutant) in mutants.iter_mut().enumerate() {
            mutant.id = u32::try_from(id).expect("few changes");
        }
        let forms = vec![Form::Switched; mutants.len()];
        let mut prepared = Self { out: out.clone(), tree, target: out.join("target"), mutants, forms };
        prepared.switch_all();
        // What has not changed since the last run is not compiled again.
        let tree = out.join("tree");
        for file in workspace_files() {
            copy_if_different(&prepared.tree.join(&file), &tree.join(&file));
        }
        prepared.tree = tree;
        prepared
    }

    pub(crate) fn of<'a>(&'a self, area: &'a Area) -> impl Iterator<Item = (&'a Mutant, Form)> {
        let both = self.mutants.iter().zip(self.forms.iter().copied());
        both.filter(move |(mutant, _)| mutant.area == area.name)
    }

    /// Writes the switches, and takes out those that the compiler rejects until it accepts the rest.
    fn switch_all(&mut self) {
        let mut sources = BTreeMap::new();
        let changing = self.mutants.iter().filter(|mutant| mutant.is_in_rust()).map(|mutant| mutant.file.clone());
        for path in changing.chain(sql_files::switched_files()) {
            let source = || fs::read_to_string(self.tree.join(&path)).expect("a source");
            sources.entry(path.clone()).or_insert_with(source);
        }
        let roots = ["batchsuite-auth", "batchsuite-store"].map(|package| self.tree.join(package).join("src/lib.rs"));
        append(&roots[0], MODULE);
        append(&roots[1], &(MODULE.to_owned() + &sql_files::module(&self.tree, &self.mutants)));
        let mut files: BTreeSet<PathBuf> = sources.keys().cloned().collect();
        for round in 1.. {
            for file in &files {
                self.write(file, &sources[file]);
            }
            let errors = self.errors();
            let rejected: BTreeSet<(u32, Form)> = errors.iter().flat_map(|error| self.rejected_by(error)).collect();
            println!("switches, round {round}: {} errors, {} changes taken out", errors.len(), rejected.len());
            if errors.is_empty() {
                return;
            }
            assert!(!rejected.is_empty(), "the compiler rejects the code, but no change of it: {errors:#?}");
            files = rejected.iter().map(|(id, _)| self.mutants[*id as usize].file.clone()).collect();
            for (id, form) in rejected {
                let known = &mut self.forms[id as usize];
                // One proof that it cannot be compiled is enough.
                if *known != Form::Unviable {
                    *known = form;
                }
            }
        }
    }

    fn write(&mut self, file: &Path, source: &str) {
        let chosen: Vec<&Mutant> = self
            .mutants
            .iter()
            .zip(&self.forms)
            .filter(|(mutant, form)| mutant.file == file && **form == Form::Switched)
            .map(|(mutant, _)| mutant)
            .collect();
        let switched = switches::rewrite(source, &chosen);
        for id in switched.apart {
            // `&&` in a chain with `let`: nothing else is permitted there.
            let is_chain = self.mutants[id as usize].genre == Genre::BinaryOperator;
            self.forms[id as usize] = if is_chain { Form::Unviable } else { Form::Apart };
        }
        fs::write(self.tree.join(file), sql_files::switched(file, switched.text)).expect("a source");
    }

    /// The changes that cause an error, and what it says about them.
    fn rejected_by(&self, error: &Rejection) -> Vec<(u32, Form)> {
        let text = fs::read_to_string(self.tree.join(&error.file)).expect("a source");
        let of_file = |id: &u32| self.mutants[*id as usize].file == error.file;
        if let Some(id) = switches::around(&text, error.at).into_iter().find(of_file) {
            return vec![(id, if error.is_of_the_change() { Form::Unviable } else { Form::Apart })];
        }
        if error.code == "E0004" {
            // Arms of a `match` that needs each of them.
            let arms = switches::in_match(&text, error.at).into_iter();
            let is_arm = |id: &u32| self.mutants[*id as usize].genre == Genre::MatchArm;
            return arms.filter(of_file).filter(is_arm).map(|id| (id, Form::Apart)).collect();
        }
        switches::in_function(&text, error.at).into_iter().filter(of_file).map(|id| (id, Form::Apart)).collect()
    }

    /// cargo, for both libraries.
    pub(crate) fn cargo(&self, command: &str) -> Command {
        let mut cargo = settled(Command::new("cargo"), &self.target);
        cargo.current_dir(&self.tree).args([command, "--all-features"]);
        cargo.args(["--package", "batchsuite-auth", "--package", "batchsuite-store"]);
        cargo
    }

    fn errors(&self) -> Vec<Rejection> {
        let output = self.cargo("check").args(["--keep-going", "--message-format=json"]).output().expect("cargo runs");
        let mut errors = Vec::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Ok(Message { message: Some(message) }) = serde_json::from_str(line) else { continue };
            if message.level != "error" {
                continue;
            }
            let Some(span) = message.spans.iter().find(|span| span.is_primary) else { continue };
            let code = message.code.map(|code| code.code).unwrap_or_default();
            let file = PathBuf::from(&span.file_name);
            errors.push(Rejection { file, at: span.byte_start, code, message: message.message });
        }
        assert!(output.status.success() || !errors.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        errors
    }
}

/// Sets what all builds share.
pub(crate) fn settled(mut cargo: Command, target: &Path) -> Command {
    cargo.env("CARGO_TARGET_DIR", target).env("CARGO_INCREMENTAL", "0").env("CARGO_PROFILE_DEV_DEBUG", "0");
    // The switches break rules of style.
    cargo.env("RUSTFLAGS", "--cap-lints=warn -Awarnings");
    cargo
}

/// An error of the compiler.
#[derive(Debug)]
struct Rejection {
    file: PathBuf,
    at: usize,
    code: String,
    #[allow(dead_code, reason = "told if no change explains it")]
    message: String,
}

impl Rejection {
    /// Whether the change itself is at fault. Errors of borrowing and of constants may be the switch's.
    fn is_of_the_change(&self) -> bool {
        let of_types =
            ["E0061", "E0106", "E0107", "E0277", "E0282", "E0283", "E0308", "E0369", "E0599", "E0600", "E0614"];
        let of_names = ["E0412", "E0423", "E0425", "E0433", "E0616", "E0624"];
        of_types.contains(&self.code.as_str()) || of_names.contains(&self.code.as_str())
    }
}

#[derive(Deserialize)]
struct Message {
    message: Option<Diagnostic>,
}

#[derive(Deserialize)]
struct Diagnostic {
    level: String,
    message: String,
    code: Option<Code>,
    spans: Vec<DiagnosticSpan>,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

#[derive(Deserialize)]
struct DiagnosticSpan {
    file_name: String,
    byte_start: usize,
    is_primary: bool,
}

/// A fresh copy of the workspace, without a dependency of the documentation's examples: it would have the core compiled
/// twice.
pub(crate) fn copy_workspace(tree: &Path) {
    if tree.exists() {
        fs::remove_dir_all(tree).expect("an old copy");
    }
    for file in workspace_files() {
        copy_if_different(&file, &tree.join(&file));
    }
    let manifest = tree.join("batchsuite-auth/Cargo.toml");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("batchsuite-store = { path")).collect();
    fs::write(&manifest, kept.join("\n") + "\n").expect("a manifest");
}

/// Every file that is or may be under version control.
fn workspace_files() -> Vec<PathBuf> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = Command::new("git").args(arguments).output().expect("git runs");
    assert!(listed.status.success(), "git cannot list the files");
    let names = String::from_utf8(listed.stdout).expect("names in UTF-8");
    // A file that was deleted is listed until that is committed.
    names.split_terminator('\0').map(PathBuf::from).filter(|file| file.is_file()).collect()
}

fn copy_if_different(from: &Path, to: &Path) {
    let content = fs::read(from).expect("a file");
    if fs::read(to).is_ok_and(|known| known == content) {
        return;
    }
    fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
    fs::write(to, content).expect("a copy");
    fs::set_permissions(to, fs::metadata(from).expect("a file").permissions()).expect("permissions");
}

/// Every change of an area.
fn listed(tree: &Path, area: &'static Area) -> Vec<Mutant> {
    let mutants = if area.is_sql { listed_in_sql(tree, area) } else { listed_by_cargo_mutants(tree, area) };
    assert!(!mutants.is_empty(), "{}: no changes", area.name);
    mutants
}

fn listed_in_sql(tree: &Path, area: &'static Area) -> Vec<Mutant> {
    let mutant = |change: sql::Change| Mutant {
        id: 0,
        area: area.name,
        bare_name: change.to_string(),
        place: change.mutation.place.clone(),
        name: change.to_string(),
        file: change.file,
        genre: Genre::Sql,
        replacement: change.mutation.instead,
        span: Span::default(),
    };
    sql::changes(tree, area.files).into_iter().map(mutant).collect()
}

fn listed_by_cargo_mutants(tree: &Path, area: &'static Area) -> Vec<Mutant> {
    let tool = Path::new("target/tools/bin/cargo-mutants").canonicalize().expect("cargo-mutants is installed");
    let mut command = Command::new(tool);
    command.current_dir(tree).args(["mutants", "--list", "--json", "--gitignore", "false", "--package", area.package]);
    for file in area.files {
        match file.strip_prefix('!') {
            Some(left_out) => command.args(["--exclude", left_out]),
            None => command.args(["--file", file]),
        };
    }
    let output = command.output().expect("cargo-mutants runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut mutants: Vec<Mutant> = serde_json::from_slice(&output.stdout).expect("a list");
    for mutant in &mut mutants {
        let (_, change) = mutant.name.split_once(": ").expect("a place and a change");
        mutant.bare_name = format!("{}: {change}", mutant.file.display());
        mutant.area = area.name;
        mutant.place = bytes(&fs::read_to_string(tree.join(&mutant.file)).expect("a source"), &mutant.span);
    }
    mutants
}

/// cargo-mutants counts lines and characters from one.
fn bytes(source: &str, span: &Span) -> Range<usize> {
    let offset = |position: &Position| {
        let start: usize = source.split_inclusive('\n').take(position.line - 1).map(str::len).sum();
        let rest = &source[start..];
        start + rest.char_indices().nth(position.column - 1).map_or(rest.len(), |(at, _)| at)
    };
    offset(&span.start)..offset(&span.end)
}

pub(crate) fn append(file: &Path, text: &str) {
    let was = fs::read_to_string(file).expect("a source");
    fs::write(file, was + text).expect("a source");
}
